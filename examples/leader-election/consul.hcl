# An agent of its own for this example, with everything in memory, for this machine alone.
bind_addr   = "127.0.0.1"
client_addr = "127.0.0.1"
ports {
  http     = 18236
  server   = 18237
  serf_lan = 18238
  serf_wan = -1
  dns      = -1
  grpc     = -1
}
disable_update_check = true
log_level            = "warn"
