package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestCalmGivesMemoryBack: what a daemon at rest has of its own program is less than what it has touched.
func TestCalmGivesMemoryBack(t *testing.T) { // not parallel: others would touch pages meanwhile
	before := fileMemory(t)
	(&thrift{}).save()
	if after := fileMemory(t); after >= before {
		t.Errorf("%d KB of files in memory at rest, %d before", after, before)
	}
}

// fileMemory is how much of files this process has mapped in memory, in KB.
func fileMemory(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var n int
		if _, err := fmt.Sscanf(line, "RssFile: %d kB", &n); err == nil {
			return n
		}
	}
	t.Fatal("no RssFile")
	return 0
}
