package daemon

import (
	"encoding/json"
	"os"
	"sync"
)

// releaseBook has the releases that apps had before their turns, in a file of the home. It
// is kept here and not in the rollout's record: what is written to KV must not decide what
// is run.
type releaseBook struct {
	path string
	mu   sync.Mutex // guards the file
}

// keptRelease is what an app's processes were of before a turn.
type keptRelease struct {
	Rollout string `json:"rollout"`
	Dir     string `json:"dir"`
}

// read is what is noted, by app. What can't be read is not known.
func (b *releaseBook) read() map[string]keptRelease {
	kept := map[string]keptRelease{}
	if text, err := os.ReadFile(b.path); err == nil {
		_ = json.Unmarshal(text, &kept)
	}
	return kept
}

// of is the release that an app had before a rollout; "" = it isn't known.
func (b *releaseBook) of(app, rollout string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if kept := b.read()[app]; kept.Rollout == rollout {
		return kept.Dir
	}
	return ""
}

// note remembers the release that an app has: the first one, if it has several turns in a
// rollout. What is there of apps that are gone is forgotten.
func (b *releaseBook) note(app, rollout, dir string, isThere func(app string) bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.read()
	if kept[app].Rollout == rollout {
		return nil
	}
	for name := range kept {
		if !isThere(name) {
			delete(kept, name)
		}
	}
	kept[app] = keptRelease{rollout, dir}
	text, _ := json.Marshal(kept) // it has nothing that can't be written
	return replace(b.path, text)
}
