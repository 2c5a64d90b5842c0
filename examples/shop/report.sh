#!/bin/sh
# One line of figures.
set -e
echo "sold $(redis-cli -p "$REDIS_PORT" get sold), waiting $(redis-cli -p "$REDIS_PORT" llen orders)"
