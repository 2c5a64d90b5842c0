package daemon

import (
	"gopm/cluster"
	"gopm/ecosystem"
)

// balances are the words of a file.
var balances = map[string]cluster.Balance{
	ecosystem.BalanceEven: cluster.Even, ecosystem.BalanceRandom: cluster.Random, ecosystem.BalanceSource: cluster.Source,
}

// killStuck has a process killed and replaced that doesn't accept any more. The watch
// calls it, which Close of the host waits for: it must not wait itself.
func (d *Daemon) killStuck(s *cluster.Slot, h cluster.Hang) {
	for _, in := range d.everyone() {
		if in.slot.Load() == s {
			in.proc.Hang(h.Inc, h.String())
		}
	}
}
