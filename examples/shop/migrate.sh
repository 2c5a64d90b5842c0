#!/bin/sh
# Makes what the others find: the stock, once.
set -e
redis() { redis-cli -p "$REDIS_PORT" "$@"; }
if [ "$(redis get schema)" = 1 ]; then
  echo "schema 1 is there already"
  exit 0
fi
redis mset stock:apples 100 stock:pears 100 sold 0 > /dev/null
redis set schema 1 > /dev/null
echo "schema 1 made"
