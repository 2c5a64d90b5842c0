package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"gopm/cluster"
	"gopm/daemon/keeper"
)

// estate is what the keeper had, sorted.
type estate struct {
	api     *net.UnixListener // nil: none
	state   []byte            // nil: none
	order   []byte            // what was to be started in the foreground; nil: nothing, or it was
	envs    map[string][]byte
	runs    map[lifeID]keeper.Entry
	seconds map[string]*os.File
	cluster []cluster.Left
	lines   map[lifeID]keeper.Entry // what was talked with runs by
	notify  *os.File                // nil: none
	hooks   []leftHook
}

// sortEstate reads what a predecessor has left. What it doesn't know is of another
// release, and closed.
func sortEstate(entries []keeper.Entry) (e estate, err error) {
	e = estate{envs: map[string][]byte{}, runs: map[lifeID]keeper.Entry{}, seconds: map[string]*os.File{}, lines: map[lifeID]keeper.Entry{}}
	for _, entry := range entries {
		if err = e.sort(entry); err != nil {
			return e, fmt.Errorf("cannot take %s over from the daemon before: %w", entry.Key, err)
		}
	}
	return e, nil
}

func (e *estate) sort(entry keeper.Entry) (err error) {
	kind, name, _ := strings.Cut(entry.Key, "/")
	kind += "/"
	if kind == keyRun {
		id, err := parseLifeID(name)
		e.runs[id] = entry
		return err
	}
	if kind == keyLine {
		id, err := parseLifeID(name)
		e.lines[id] = entry
		return err
	}
	if entry.Key == keyNotify && len(entry.Files) == 1 {
		e.notify = entry.Files[0]
		return nil
	}
	if kind == keyCluster {
		e.cluster = append(e.cluster, cluster.Left{Key: entry.Key, Note: entry.Note, Files: entry.Files})
		return nil
	}
	if kind == keyHook {
		left := leftHook{main: entry.Main, key: entry.Key}
		_ = json.Unmarshal(entry.Note, &left.hookNote) // an error: it is of another release, and ended
		e.hooks = append(e.hooks, left)
		return nil
	}
	if kind == keySecond && len(entry.Files) == 1 {
		e.seconds[name] = entry.Files[0]
		return nil
	}
	for _, f := range entry.Files {
		defer f.Close()
		switch {
		case entry.Key == keyAPI:
			e.api, err = listenerOf(f)
		case entry.Key == keyState:
			e.state, err = readMemory(f)
		case entry.Key == keyOrder:
			e.order, err = readMemory(f)
		case kind == keyEnv:
			e.envs[name], err = readMemory(f)
		}
	}
	return err
}

func listenerOf(f *os.File) (*net.UnixListener, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		return u, nil
	}
	return nil, errors.New("it is no unix socket")
}

// readMemory reads a file whose offset somebody else has moved.
func readMemory(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text := make([]byte, info.Size())
	_, err = f.ReadAt(text, 0)
	return text, err
}

// close lets go of the pipes; the streams have their own. The cluster's are its own.
func (e estate) close() {
	for _, entry := range e.runs {
		for _, f := range entry.Files {
			f.Close()
		}
	}
	for _, f := range e.seconds {
		f.Close()
	}
	for _, entry := range e.lines {
		for _, f := range entry.Files {
			f.Close()
		}
	}
	if e.notify != nil {
		e.notify.Close()
	}
}
