#!/bin/sh
# report.sh: stands for what is done at night. Its last words go to standard error.
echo "counting"
sleep 0.2
echo "12 orders"
echo "no printer" >&2
exit 3
