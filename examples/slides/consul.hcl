# An agent of its own for this example, with everything in memory, for this machine alone.
bind_addr   = "127.0.0.1"
client_addr = "127.0.0.1"
ports {
  http     = 18202
  dns      = 18203
  server   = 18204
  serf_lan = 18205
  serf_wan = -1
  grpc     = -1
}
disable_update_check = true
log_level            = "warn"
