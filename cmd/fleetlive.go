package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gopm/daemon/api"
)

// liveLimit is how long a machine is waited for that is asked by ssh.
const liveLimit = 10 * time.Second

// askLive asks the machines themselves how their instances of an app ("": of all) are now
// and what they take, all at once. A machine that doesn't answer has the reason instead.
func askLive(ctx context.Context, fleet *api.Fleet, app string) {
	const atOnce = 32
	turns := make(chan struct{}, atOnce)
	var asked sync.WaitGroup // each ends by its limit
	for i := range fleet.Machines {
		asked.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			m := &fleet.Machines[i]
			rows, err := liveRows(ctx, *m, app)
			if err != nil {
				m.LiveError = err.Error()
				return
			}
			m.Instances, m.Unlisted, m.Live = rows, 0, true
		})
	}
	asked.Wait()
}

func liveRows(ctx context.Context, m api.FleetMachine, app string) ([]api.Instance, error) {
	client := api.NewClient(api.Home{Dir: m.Home}, version, nil)
	if !m.Here {
		host, err := machineHost(m)
		if err != nil {
			return nil, err
		}
		client = api.NewRemote(host.String(), version, dialSSH(host))
	}
	var targets []string
	if app != "" {
		targets = []string{app}
	}
	ctx, cancel := context.WithTimeout(ctx, liveLimit)
	defer cancel()
	rows, err := client.Instances(ctx, api.Targeted(targets...))
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("no answer for %s", duration(liveLimit))
	}
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "gopm: "))
	}
	return slices.DeleteFunc(rows, func(r api.Instance) bool { return app != "" && r.Name != app }), nil // it may be a namespace there
}

// machineHost is how ssh gets to a machine. Its address is what the catalog says, where
// strangers may write.
func machineHost(m api.FleetMachine) (sshHost, error) {
	if m.SSH == "" {
		return sshHost{}, fmt.Errorf("it gives no address for ssh: set GOPM_SSH=user@host for its daemon")
	}
	h, err := parseSSH("ssh://" + m.SSH)
	if err != nil {
		return h, fmt.Errorf("the address it gives for ssh can't be used: %v", err)
	}
	h.home = m.Home
	return h, nil
}
