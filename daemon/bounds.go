package daemon

import (
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// BoundWord is the hidden command by which a program is started that is held to limits.
const BoundWord = supervise.BoundWord

// BecomeBound is that command. It returns only if it can't be carried out.
func BecomeBound(args []string) error { return supervise.BecomeBound(args) }

// bounds is what a program is held to, besides the limits of its instance; nil: nothing.
func bounds(b ecosystem.Bounds) *supervise.Bounds {
	if !b.NoNewPrivs && b.Nice == nil && len(b.Rlimits) == 0 {
		return nil
	}
	to := &supervise.Bounds{NoNewPrivs: b.NoNewPrivs, Nice: b.Nice}
	for _, r := range b.Rlimits {
		// Unlimited is -1, which is the kernel's number for it, too.
		to.Rlimits = append(to.Rlimits, supervise.Rlimit{Name: r.Name, Resource: r.Number(), Soft: uint64(r.Soft), Hard: uint64(r.Hard)})
	}
	return to
}
