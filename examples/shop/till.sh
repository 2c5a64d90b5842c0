#!/bin/sh
# Orders by hand, one a line: "2 apples".
echo "the till is open"
while read -r count what; do
  case $count in
  '' | *[!0-9]*) echo "how many? like: 2 apples"; continue ;;
  esac
  for _ in $(seq "$count"); do
    redis-cli -p "$REDIS_PORT" rpush orders "$what" > /dev/null || exit 1
  done
  echo "ordered $count $what"
done
