package watch

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestARandomLife: folders are made, filled, moved about and removed at random; after
// that a change in each of those that are left is told, and no other is watched.
func TestARandomLife(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, uint64(time.Now().UnixNano())} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			b := newBench(t, "in/a", "out/a")
			b.watch(func(x *Tree) { x.Paths, x.Delay = []string{b.path("in")}, 30*time.Millisecond })
			random := rand.New(rand.NewPCG(seed, 0))
			for range 400 {
				b.happen(random)
			}
			b.settles("in/last")
			folders := b.folders("in")
			for _, f := range folders {
				b.write(f + "/probe")
				for !slices.Contains(b.next().Files, f+"/probe") {
				}
			}
			b.eventually("it watches what is there", func() bool { s, _ := b.w.State("web"); return s.Folders == len(folders) })
		})
	}
}

// folders are those in one of the two halves, itself included.
func (b *bench) folders(half string) (all []string) {
	b.Helper()
	b.do(filepath.WalkDir(b.path(half), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			rel, _ := filepath.Rel(b.dir, path)
			all = append(all, rel)
		}
		return err
	}))
	return all
}

// happen is one thing that happens to a folder.
func (b *bench) happen(random *rand.Rand) {
	b.Helper()
	pick := func(half string) string { all := b.folders(half); return all[random.IntN(len(all))] }
	half := []string{"in", "in", "in", "out"}[random.IntN(4)]
	one, other := pick(half), pick([]string{"in", "in", "out"}[random.IntN(3)])
	name := fmt.Sprint("d", random.IntN(6))
	switch n := random.IntN(10); {
	case n < 4:
		if strings.Count(one, "/") < 5 {
			_ = os.Mkdir(b.path(one+"/"+name), 0o755) // it may be there
		}
	case n < 6:
		_ = os.WriteFile(b.path(one+"/"+name), nil, 0o644) // or be a folder
	case one == "in" || one == "out":
	case n < 9:
		_ = os.Rename(b.path(one), b.path(other+"/"+name)) // into itself, or over another, it can't
	default:
		b.do(os.RemoveAll(b.path(one)))
	}
}

// settles returns when all that has happened was told.
func (b *bench) settles(mark string) {
	b.Helper()
	b.eventually("all is told", func() bool {
		b.write(mark)
		select {
		case x := <-b.bursts:
			return x.Count == 1 && slices.Contains(x.Files, mark)
		case <-time.After(soon):
			return false
		}
	})
}
