package load

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// reserved are the names that this process holds, by port.
var reserved sync.Map

// FreePort is a TCP port that nobody listens on, and that nobody else is given or meets by chance: it lies below the
// range from which the kernel takes the ports of outgoing connections and of listeners on port 0, and an abstract socket
// with its name reserves it among all processes that ask here, until this process ends.
func FreePort() (int, error) { return FreePorts(1) }

// FreePorts is the first of some such ports that follow each other.
func FreePorts(n int) (first int, err error) {
	for range 1000 {
		first := 10000 + rand.IntN(20000-n)
		if row := reserve(first, n); row != nil {
			for i, name := range row {
				reserved.Store(first+i, name) // else it would be closed when it is collected
			}
			return first, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports between 10000 and 30000", n)
}

// reserve takes the names of some ports that are free, or of none.
func reserve(first, n int) (names []net.Listener) {
	for port := first; port < first+n; port++ {
		name, err := net.Listen("unix", fmt.Sprintf("@gopm-test-port-%d", port))
		if err == nil {
			names = append(names, name)
			var l net.Listener
			if l, err = net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil { // both families
				l.Close()
				continue
			}
		}
		for _, name := range names {
			name.Close()
		}
		return nil
	}
	return names
}
