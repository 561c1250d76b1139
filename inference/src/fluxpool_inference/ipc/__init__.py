"""How the HTTP process and a worker process talk: typed messages as JSON frames over an inherited pair of sockets.

Pixels do not go through the sockets: an image is an anonymous memory file whose descriptor rides along with its
message. Nothing has a name in the file system, so whoever dies, however, leaves nothing behind.
"""
