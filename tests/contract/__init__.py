"""The queue, as whoever uses it sees it: in this process, through a real manager, through its port."""
