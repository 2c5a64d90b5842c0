package cmd

import (
	"testing"

	"gopm/daemon/api"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	exit := func(incarnation uint64, expected bool) *api.Exit {
		return &api.Exit{Incarnation: incarnation, Expected: expected}
	}
	tests := []struct {
		name string
		p    api.Process
		want verdict
	}{
		{"the earlier run is being stopped", api.Process{Incarnation: 3, Status: "stopping"}, pending},
		{"the earlier run was online", api.Process{Incarnation: 3, Status: "online"}, pending},
		{"launching", api.Process{Incarnation: 4, Status: "launching"}, pending},
		{"launching after an earlier crash", api.Process{Incarnation: 4, Status: "launching", LastExit: exit(3, false)}, pending},
		{"online", api.Process{Incarnation: 4, Status: "online"}, up},
		{"crashed", api.Process{Incarnation: 4, Status: "waiting restart", LastExit: exit(4, false)}, failed},
		{"crashed and started again", api.Process{Incarnation: 5, Status: "launching", LastExit: exit(4, false)}, failed},
		{"restarted on request meanwhile", api.Process{Incarnation: 5, Status: "launching", LastExit: &api.Exit{Incarnation: 4, Requested: true}}, pending},
		{"up after a restart on request", api.Process{Incarnation: 5, Status: "online", LastExit: &api.Exit{Incarnation: 4, Requested: true}}, up},
		{"crashed after a restart on request", api.Process{Incarnation: 6, Status: "launching", LastExit: exit(5, false)}, failed},
		{"exit 0 is a crash under autorestart", api.Process{Incarnation: 4, Status: "waiting restart", LastExit: exit(4, true)}, failed},
		{"ended as it should", api.Process{Incarnation: 4, Status: "stopped", LastExit: exit(4, true)}, up},
		{"ended as it should, leftovers going", api.Process{Incarnation: 4, Status: "stopping", Clearing: true, LastExit: exit(4, true)}, pending},
		{"ended with a wrong code", api.Process{Incarnation: 4, Status: "stopped", LastExit: exit(4, false)}, failed},
		{"errored", api.Process{Incarnation: 4, Status: "errored", LastExit: exit(4, false)}, failed},
		{"stopped by somebody else", api.Process{Incarnation: 4, Status: "stopped", LastExit: &api.Exit{Incarnation: 4, Requested: true}}, up},
	}
	for _, tt := range tests {
		if got := judge(tt.p, 3); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
