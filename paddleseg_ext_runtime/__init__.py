"""What runs an exported model and needs no paddle to begin with: images, label maps, deploy.yaml, processes, errors.

The lowest room of the house: scripts of deploy/ start on it within half a second, and the library builds on it too.
"""
