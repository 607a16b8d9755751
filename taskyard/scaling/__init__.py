"""Workers as many as the load wants: looks at the queue, decides, and lets Docker do it.

::

    queue --look--> Look --+                        +--> grow: more containers            (Compose, Swarm)
                           +--> Load --> Governor --+--> drain: idle workers first        (the queue tells them)
    Docker --places--------+             (policy)   +--> remove: what has drained by now  (Compose, Swarm)

Nothing is remembered but what the last seconds were like: each turn sees anew what there is, so that it may end at any
moment, and whoever starts it again goes on.
"""
