"""The tutorial's two programs as a reader types them: nothing of Taskyard in them."""
