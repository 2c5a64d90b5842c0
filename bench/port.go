package main

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Where ports are looked for: from here to the first one that the kernel gives to clients by itself. A port of those could be
// a client's while nobody listens on it, and then no successor can; or a client connects to itself.
const (
	firstPort = 10000
	fewPorts  = 1000 // less than that and the kernel shall choose
)

// freePorts are n different ports that nobody listens on; 0, on which nothing can be started, where there are none left.
func freePorts(n int) []int {
	var end int
	fmt.Sscan(readFile("/proc/sys/net/ipv4/ip_local_port_range"), &end)
	ports := make([]int, n)
	for i := range ports {
		for range 100 {
			port := 0
			if end > firstPort+fewPorts {
				port = firstPort + rand.IntN(end-firstPort)
			}
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				continue
			}
			defer l.Close() // when all are chosen: none is chosen twice
			ports[i] = l.Addr().(*net.TCPAddr).Port
			break
		}
	}
	return ports
}
