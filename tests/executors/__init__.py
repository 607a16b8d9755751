"""One list of what an Executor does, for those of the standard library and for those of Taskyard.

What is here imports neither pytest nor, before one of its executors is made, Taskyard: it also runs in a container.
"""
