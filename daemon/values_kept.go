package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gopm/daemon/api"
)

// keptValues is the file in which the values of an app are kept, for a time when Consul
// can't be asked. It has secrets: only its owner may read it.
type keptValues struct {
	Format int       `json:"format"`
	Source string    `json:"source"` // what was asked for
	Good   *values   `json:"values"`
	Bad    *badValue `json:"refused,omitempty"`
}

// badValue are values that an app has failed with.
type badValue struct {
	Values *values   `json:"values"`
	Why    string    `json:"why"`
	At     time.Time `json:"at"`
	Tries  int       `json:"tries"`
}

// pardon is when an app that loses nothing by it is given values again that it has failed
// with: it may have had another reason. After some tries: never.
func (b *badValue) pardon() time.Time {
	const mostTries = 4
	if b == nil || b.Tries >= mostTries {
		return time.Time{}
	}
	return b.At.Add(time.Minute << (2 * max(b.Tries-1, 0))) // 1, 4, 16 minutes
}

// keptFormat is the version of such a file.
const keptFormat = 1

// sourceOf names what is asked for an app, and whom: values of another source are no values
// of the app.
func (d *Daemon) sourceOf(a *app) string {
	c, from := a.spec.Consul.Config, d.agents.connection(a)
	text := []string{from.Address, from.Datacenter, from.Namespace, from.Partition, c.Env}
	for _, f := range c.Files {
		text = append(text, f.Path, f.Key)
	}
	return strings.Join(text, "\n")
}

func (d *Daemon) keptPath(app string) string {
	return filepath.Join(d.cfg.Home.Dir, "consul", fileName(app)+".json")
}

// loadKept is what is kept for an app; nil: nothing.
func (d *Daemon) loadKept(a *app) *keptValues {
	if !isConfigured(a.spec) {
		return nil
	}
	path := d.keptPath(a.spec.Name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var k keptValues
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err == nil && k.Format > keptFormat {
		err = errors.New("it is of a later gopm")
	}
	if err == nil && k.Good == nil {
		err = errors.New("it has no values")
	}
	if err != nil {
		if _, isPath := errors.AsType[*fs.PathError](err); !isPath {
			err = errors.New(path + " is damaged") // the text may be secret
		}
		d.tell(appEvent(a.spec.Name, api.EventConsul, "the last good values can't be used: %v", err))
		return nil
	}
	if k.Source != d.sourceOf(a) {
		return nil
	}
	return &k
}

// saveKept keeps values. They are on the disk when it returns.
func (d *Daemon) saveKept(a *app, k keptValues) error {
	k.Format, k.Source = keptFormat, d.sourceOf(a)
	path := d.keptPath(a.spec.Name)
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot keep the values: %w", err)
	}
	if err := (installation{path: path, mode: 0o600, uid: os.Geteuid(), gid: -1, content: encode(k)}).write(); err != nil {
		return fmt.Errorf("cannot keep the values: %w", err)
	}
	return nil
}

// dropKept is for an app that is gone.
func (d *Daemon) dropKept(app string) {
	_ = os.Remove(d.keptPath(app)) // an error: there is none
}
