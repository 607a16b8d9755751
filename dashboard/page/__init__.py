"""The live page, for people: what the queue and its workers do, and the buttons that steer them."""
