package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"

	"gopm/daemon/api"
)

// snapshot is the file that `save` makes: the state and the environments it names.
type snapshot struct {
	State api.State           `json:"state"`
	Envs  map[string][]string `json:"inherited_envs"`
}

// save keeps the present list where later changes don't touch it.
func (d *Daemon) save(r *http.Request) (any, error) {
	doc := d.store.present()
	s := snapshot{Envs: doc.envs}
	if err := json.Unmarshal(doc.text, &s.State); err != nil {
		return nil, err
	}
	path := d.cfg.Home.Saved()
	d.store.files.mu.Lock() // two may save at once
	err := replace(path, append(encode(s), '\n'))
	d.store.files.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if _, err := syncFile(path); err != nil {
		return nil, fmt.Errorf("cannot write %s: %v", path, err)
	}
	return api.Saved{Path: path, Apps: len(s.State.Apps)}, nil
}

// resurrect starts what should run and is at rest. With the snapshot it first adds
// those apps of it that are not there.
func (d *Daemon) resurrect(ctx context.Context, req api.Resurrect) (api.Outcome, error) {
	end, err := d.begin(ctx)
	if err != nil {
		return api.Outcome{}, err
	}
	defer end()
	if req.Saved {
		if err := d.restoreSaved(); err != nil {
			return api.Outcome{}, err
		}
	}
	picked := d.table.Load().where(func(_ *app, in *instance) bool { return in.restedBy() != "" })
	out := gather(picked, func(in *instance) (api.Started, string) {
		s := in.proc.Snapshot()
		return api.Started{ID: in.id, After: s.Incarnation}, d.begins(in)
	})
	d.waive(picked)
	d.upkeep.look()
	return out, d.keepWishes(ctx, picked)
}

// restoreSaved adds what the snapshot has and the table lacks, at rest if it ran.
func (d *Daemon) restoreSaved() error {
	text, err := os.ReadFile(d.cfg.Home.Saved())
	if errors.Is(err, fs.ErrNotExist) {
		return api.Errorf(api.KindNotFound, "nothing was saved: there is no %s; gopm save makes it", d.cfg.Home.Saved())
	}
	var s snapshot
	if err == nil {
		if err = json.Unmarshal(text, &s); err == nil {
			err = s.State.Check()
		}
	}
	if err != nil {
		return fmt.Errorf("cannot read what was saved, %s: %v", d.cfg.Home.Saved(), err)
	}
	for _, was := range s.State.Apps {
		if d.table.Load().app(was.Spec.Name) != nil {
			continue
		}
		if err := d.restoreApp(was, s.Envs[was.Env]); err != nil {
			return err
		}
	}
	return nil
}

func (d *Daemon) restoreApp(was api.SavedApp, env []string) error {
	r := d.reprepare(was, env)
	id := d.nextID()
	r.app.spec.Scale = scaleFor(r.app.spec.Scale, len(was.Instances), r.app.spec.Scale.Spares)
	fresh := r.app.enlist(&id)
	st := stage{ready: r, fresh: fresh}
	if err := d.equip([]stage{st}); err != nil {
		return err
	}
	for i, in := range fresh {
		if was.Instances[i].Want {
			in.rest("kill")
		}
	}
	d.put(d.table.Load().with(r.app), r.app)
	return nil
}
