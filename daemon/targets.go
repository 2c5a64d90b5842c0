package daemon

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"gopm/daemon/api"
	"gopm/ecosystem"
	"gopm/logs"
)

// targets are where the two streams of an instance go. Several instances have
// their number in the file name, before ".log", unless they are merged; a file of
// another name is shared.
func targets(spec ecosystem.App, in *instance, acc account, place logPlace) (out, err logs.Target) {
	l := spec.Logs
	base := filepath.Join(place.dir, fileName(spec.Name))
	path := func(explicit, usual string) string {
		switch {
		case l.Disabled, explicit == os.DevNull:
			return ""
		case place.settings != nil && explicit == "":
			return ""
		case explicit == "", explicit == ecosystem.DefaultLog:
			explicit = base + usual
		}
		if stem, ok := strings.CutSuffix(explicit, ".log"); ok && spec.Scale.Total() > 1 && !l.Merge {
			return stem + "-" + strconv.Itoa(in.index) + ".log"
		}
		return explicit
	}
	t := logs.Target{
		Format:   logs.Format{Layout: l.DateFormat, JSON: l.Type == "json", App: spec.Name, ID: in.id},
		Rotation: logs.Rotation{MaxSize: l.MaxSize, Retain: l.Retain, Compress: l.Compress},
		Buffered: l.Buffered, UID: -1, GID: -1,
	}
	if !t.Format.JSON {
		t.Format.App, t.Format.ID = "", 0
	}
	if l.Combined != "" {
		t.Also = path(l.Combined, ".log")
	}
	if acc.cred != nil {
		t.UID, t.GID = int(acc.cred.UID), int(acc.cred.GID)
	}
	out, err = t, t
	key := strconv.Itoa(in.id)
	out.Key, err.Key = key+"/out", key+"/err"
	out.Path, err.Path = path(l.Out, outLog), path(l.Err, errLog)
	err.Format.Err = t.Format.JSON
	if place.settings != nil && !l.Disabled {
		place.app, place.id = spec.Name, in.id
		out, err = place.shown(out, l.Out, outLog), place.shown(err, l.Err, errLog)
	}
	return out, err
}

// shown has a stream go to our own, too, but one that is to be nowhere.
func (p logPlace) shown(t logs.Target, explicit, usual string) logs.Target {
	if explicit == os.DevNull {
		return t
	}
	c := p.console(t, usual)
	t.Patient = true
	if t.Path == "" {
		t.Path, t.Format = c.Path, c.Format
	} else {
		t.Console = c
	}
	return t
}

// logPlace is where the output goes of which an app doesn't say where.
type logPlace struct {
	dir      string
	settings *api.Runtime // not nil: to our own stdout and stderr, written like this
	app      string       // of which the line is
	id       int
}

func (d *Daemon) logPlace() logPlace {
	p := logPlace{dir: d.cfg.Home.Logs()}
	if d.front != nil {
		p.settings = &d.front.settings
	}
	return p
}

// The usual names of log files end like this.
const (
	outLog = "-out.log"
	errLog = "-error.log"
)

// fileName is an app's name as part of a file name: what is not safe there becomes
// "-", as with pm2, and a few digits of the name's hash keep apart what would then
// be the same.
func fileName(name string) string {
	safe := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '-'
	}, name)
	if safe == name {
		return name
	}
	sum := fnv.New32a()
	sum.Write([]byte(name))
	return fmt.Sprintf("%s-%04x", safe, sum.Sum32()&0xffff)
}
