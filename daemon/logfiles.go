package daemon

import (
	"context"
	"errors"
	"fmt"
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
	done := eachLog(ctx, picked, func(s *logs.Stream, files []api.LogFile) error {
		if len(files) == 0 {
			return nil
		}
		for i := range files {
			files[i].Bytes = sizeOf(files[i].Path)
		}
		err := s.Truncate()
		for i := range files {
			if req.Rotated && err == nil {
				files[i].Rotated, err = logs.Trim([]string{files[i].Path}, 0)
			}
		}
		return err
	})
	if req.Own {
		done.Files = append(done.Files, d.flushOwn(req.Rotated))
	}
	d.log("%d log files were emptied by command", len(done.Files))
	return done, nil
}

// flushOwn empties the daemon's own log. It is written to by appending.
func (d *Daemon) flushOwn(rotated bool) api.LogFile {
	path := d.cfg.Home.Log()
	own := api.LogFile{Path: path, Bytes: sizeOf(path)}
	err := os.Truncate(path, 0)
	if rotated && err == nil {
		own.Rotated, err = logs.Trim([]string{path}, 0)
	}
	if err != nil {
		own.Error = fmt.Sprintf("cannot empty gopm's own log: %v", err)
	}
	return own
}

// reopen opens the targets' log files anew, after somebody (logrotate) has moved
// them away. gopm's own log notices by itself.
func (d *Daemon) reopen(ctx context.Context, req api.Targets) (api.Flushed, error) {
	picked, err := d.table.Load().selection(req.Targets)
	if err != nil {
		return api.Flushed{}, err
	}
	done := eachLog(ctx, picked, func(s *logs.Stream, files []api.LogFile) error {
		err := s.Reopen()
		for i := range files {
			files[i].Bytes = sizeOf(files[i].Path)
		}
		return err
	})
	d.log("%d log files were opened anew by command", len(done.Files))
	return done, nil
}

// eachLog does something to every stream of some instances that has log files, and
// names each file once: streams share them. It ends with ctx, because on a disk
// that hangs every file takes its time.
func eachLog(ctx context.Context, picked []*instance, do func(*logs.Stream, []api.LogFile) error) api.Flushed {
	done := api.Flushed{Files: []api.LogFile{}}
	seen := map[string]bool{}
	for _, in := range picked {
		for _, s := range []*logs.Stream{in.out, in.err} {
			var files []api.LogFile
			writes := false
			for _, path := range []string{s.Stats().Path, s.Stats().Also} {
				if !isLogFile(path) {
					continue
				}
				if writes = true; !seen[path] {
					seen[path] = true
					files = append(files, api.LogFile{Path: path})
				}
			}
			if !writes || ctx.Err() != nil {
				continue
			}
			if err := do(s, files); err != nil && len(files) > 0 { // else it was told with the stream before it
				files[0].Error = err.Error()
			}
			done.Files = append(done.Files, files...)
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
