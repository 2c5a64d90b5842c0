package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"gopm/daemon/api"
	"gopm/logs"
)

// flush empties the targets' log files in place, and gopm's own if asked to.
func (d *Daemon) flush(ctx context.Context, req api.Flush) (api.Flushed, error) {
	picked, err := d.table.Load().selection(req.Targets)
	if err != nil {
		return api.Flushed{}, err
	}
	done := eachLog(picked, func(s *logs.Stream, f *api.LogFile) error {
		_ = s.Flush(ctx) // what the app wrote before the command is to go, too
		f.Bytes = sizeOf(f.Path)
		return os.Truncate(f.Path, 0)
	})
	if req.Own {
		own := api.LogFile{Path: d.cfg.Home.Log(), Bytes: sizeOf(d.cfg.Home.Log())}
		if err := os.Truncate(own.Path, 0); err != nil { // it is written to by appending
			own.Error = err.Error()
		}
		done.Files = append(done.Files, own)
	}
	d.log("%d log files were emptied by command", len(done.Files))
	return done, nil
}

// eachLog does something to every log file of some instances, once to each.
func eachLog(picked []*instance, do func(*logs.Stream, *api.LogFile) error) api.Flushed {
	done := api.Flushed{Files: []api.LogFile{}}
	seen := map[string]bool{}
	for _, in := range picked {
		for _, s := range []*logs.Stream{in.out, in.err} {
			path := s.Stats().Path
			if !isLogFile(path) || seen[path] {
				continue
			}
			seen[path] = true
			f := api.LogFile{Path: path}
			if err := do(s, &f); err != nil {
				f.Error = err.Error()
			}
			done.Files = append(done.Files, f)
		}
	}
	return done
}

// isLogFile says whether a path is a plain file, or will be one when something is
// written: /dev/null and terminals have nothing to empty.
func isLogFile(path string) bool {
	if path == "" {
		return false
	}
	info, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular()
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
