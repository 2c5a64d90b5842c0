package daemon

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"gopm/daemon/api"
	"gopm/daemon/keeper"
)

// lifeID names one object of an instance. A reload has two with the same id for a
// while: the present process and the one that is going to replace it, each of a life
// of its own. The first life is 0.
type lifeID struct {
	id   int
	life uint64
}

func (in *instance) lifeID() lifeID { return lifeID{in.id, in.life} }

// key is what the keeper knows it by: "i/3", or "i/3.2" for the life 2.
func (l lifeID) key() string { return l.under(keyRun) }

// under is its key of another kind.
func (l lifeID) under(kind string) string {
	if l.life == 0 {
		return kind + strconv.Itoa(l.id)
	}
	return fmt.Sprintf("%s%d.%d", kind, l.id, l.life)
}

// parseLifeID reads a key without its kind.
func parseLifeID(name string) (l lifeID, err error) {
	id, life, _ := strings.Cut(name, ".")
	if l.id, err = strconv.Atoi(id); err != nil {
		return l, err
	}
	l.life, err = strconv.ParseUint(cmp.Or(life, "0"), 10, 64)
	return l, err
}

// lifeVariable tells the descendants of one life from those of the next: what is left
// of an old process is cleared away while its successor runs.
const lifeVariable = "GOPM_LIFE="

func (in *instance) lifeEntry() string { return lifeVariable + strconv.FormatUint(in.life, 10) }

// run is what the keeper had of an instance as the table names it.
func (e estate) run(in api.SavedInstance) (keeper.Entry, bool) {
	run, is := e.runs[lifeID{in.ID, in.Life}]
	return run, is
}
