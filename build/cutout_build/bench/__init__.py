"""What `make bench` measures Cutout's service against: its own stages without a server, and rembg.

Each is a command (`python -m cutout_build.bench NAME`), because the load generator imports nothing of ours but the
client.
"""
