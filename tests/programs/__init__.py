"""The programs themselves: real masters and workers on loopback, each in a process and a folder of its own."""
