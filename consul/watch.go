package consul

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// watch has a question open at the agent: the connection breaks when the agent ends, and
// the answer comes when one of our entries is changed by somebody.
type watch struct {
	client *Client
	seen   chan error // one place: the agent is gone, or has something else than before

	cancel context.CancelFunc // nil: no question is open
	done   sync.WaitGroup
	id     string
}

// patience is how long the agent is asked to think about a question.
const patience = 5 * time.Minute

// on asks about one of our entries, if that isn't asked already.
func (w *watch) on(ctx context.Context, have map[string]entry, o Owner) {
	if w.cancel != nil {
		if e, is := have[w.id]; is && !e.foreign {
			return
		}
		w.close()
	}
	ids := slices.Sorted(maps.Keys(have))
	if len(ids) > 1 && ids[0] == o.Prefix {
		ids = append(ids[1:], ids[0]) // that of the whole machine changes often
	}
	for _, id := range ids {
		if have[id].foreign {
			continue
		}
		asking, cancel := context.WithCancel(ctx)
		w.cancel, w.id = cancel, id
		w.done.Go(func() { w.ask(asking, id) }) // ended by close, which waits for it
		return
	}
}

// close takes the question back.
func (w *watch) close() {
	if w.cancel == nil {
		return
	}
	w.cancel()
	w.done.Wait()
	w.cancel = nil
	select {
	case <-w.seen: // about what was before
	default:
	}
}

func (w *watch) ask(ctx context.Context, id string) {
	hash := ""
	for {
		var meta *api.QueryMeta
		err := w.client.do(ctx, patience, func(ctx context.Context) (err error) {
			_, meta, err = w.client.api.Agent().Service(id, (&api.QueryOptions{WaitHash: hash, WaitTime: patience}).WithContext(ctx))
			return err
		})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.seen <- err
			return
		case hash != "" && meta.LastContentHash != hash:
			w.seen <- nil
			return
		}
		hash = meta.LastContentHash
	}
}
