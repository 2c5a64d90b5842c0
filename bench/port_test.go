package main

import (
	"fmt"
	"slices"
	"testing"
)

func TestFreePortsAreDifferentAndNoClients(t *testing.T) {
	t.Parallel()
	ports := freePorts(200)
	slices.Sort(ports)
	if len(slices.Compact(ports)) != 200 || ports[0] == 0 {
		t.Errorf("%v", ports)
	}
	var first int
	if _, err := fmt.Sscan(readFile("/proc/sys/net/ipv4/ip_local_port_range"), &first); err != nil {
		t.Fatal(err)
	}
	if last := ports[len(ports)-1]; first > firstPort+fewPorts && last >= first {
		t.Errorf("%d may be a client's: those begin at %d", last, first)
	}
}
