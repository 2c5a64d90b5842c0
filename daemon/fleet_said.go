package daemon

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
	"gopm/ecosystem"
)

// What a daemon says of itself in Consul is the meta of a service of its own: what `gopm
// fleet ls` shows on any other machine. Consul takes 64 pairs, of 512 bytes each.

// fleetService is the name of every daemon's own service.
const fleetService = "gopm"

// fleetID is the ID of this one's.
func fleetID(host string) string { return "gopm:" + host }

// Pairs of the meta. The home's is the registrar's own.
const (
	saidHost     = "host"
	saidHome     = "gopm_home"
	saidVersion  = "version"
	saidSSH      = "ssh"
	saidUnlisted = "unlisted"
	saidApp      = "app_" // and a number
	maxSaidApps  = 54     // pairs of apps: some are left for what the registrar and later versions have to say
	maxSaid      = 512
)

// saidPart is an app with some of its instances; those that don't fit are in a further
// part of that name.
type saidPart struct {
	Name    string   `json:"n"`
	Version string   `json:"v,omitempty"`
	Mode    string   `json:"m,omitempty"`
	Fleet   bool     `json:"f,omitempty"`
	Release string   `json:"r,omitempty"`
	Spec    string   `json:"s,omitempty"`
	User    string   `json:"u,omitempty"`
	Rows    []string `json:"i"`
}

// sayFleet puts the apps into pairs, and counts the instances for which there is no room.
func sayFleet(apps []api.FleetApp, rows []api.Instance) (meta map[string]string, unlisted int) {
	meta = map[string]string{}
	for _, a := range apps {
		for _, p := range saidParts(a, rows) {
			text := encodePart(p)
			if len(meta) == maxSaidApps || len(text) > maxSaid {
				unlisted += len(p.Rows)
				continue
			}
			meta[fmt.Sprintf("%s%02d", saidApp, len(meta))] = text
		}
	}
	return meta, unlisted
}

// saidParts is an app in parts that have room in a pair each.
func saidParts(a api.FleetApp, rows []api.Instance) []saidPart {
	part := saidPart{Name: a.Name, Fleet: a.Fleet, Release: clip(a.Release, 64), Spec: clip(a.Spec, 16), Rows: []string{}}
	var all []saidPart
	for _, r := range rows {
		if r.Name != a.Name {
			continue
		}
		if len(part.Rows) == 0 && len(all) == 0 {
			part.Version, part.Mode, part.User = clip(r.Version, 32), clip(r.Mode, 16), clip(r.User, 32)
		}
		longer := part
		longer.Rows = append(slices.Clone(part.Rows), sayRow(r))
		if len(encodePart(longer)) > maxSaid && len(part.Rows) > 0 {
			all = append(all, part)
			longer = saidPart{Name: a.Name, Fleet: a.Fleet, Rows: []string{sayRow(r)}}
		}
		part = longer
	}
	return append(all, part)
}

func encodePart(p saidPart) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // it has nothing that can't be written
	return strings.TrimSpace(out.String())
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// sayRow is an instance: id, index, pid, start, restarts, marks, status.
func sayRow(r api.Instance) string {
	marks := ""
	for _, m := range rowMarks {
		if *m.of(&r.Process) {
			marks += m.letter
		}
	}
	started := int64(0)
	if !r.Process.Started.IsZero() {
		started = r.Process.Started.Unix()
	}
	return fmt.Sprintf("%d %d %d %d %d %s %s", r.ID, r.Index, r.Process.Pid, started, r.Process.Restarts, cmp.Or(marks, "-"), clip(r.Process.Status, 24))
}

// rowMarks are what a status has besides its word.
var rowMarks = []struct {
	letter string
	of     func(*api.Process) *bool
}{
	{"u", func(p *api.Process) *bool { return &p.Unhealthy }},
	{"s", func(p *api.Process) *bool { return &p.Standby }},
	{"n", func(p *api.Process) *bool { return &p.NotReady }},
	{"c", func(p *api.Process) *bool { return &p.Scheduled }},
	{"k", func(p *api.Process) *bool { return &p.Killed }},
}

// heardRow reads one, which anybody may have written.
func heardRow(text string) (r api.Instance, ok bool) {
	words := strings.SplitN(text, " ", 7)
	if len(words) < 7 || words[6] == "" {
		return r, false
	}
	var n [5]int64
	for i := range n {
		v, err := strconv.ParseInt(words[i], 10, 64)
		if err != nil || v < 0 || v > 1<<40 {
			return r, false
		}
		n[i] = v
	}
	r.ID, r.Index = int(n[0]), int(n[1])
	r.Process = api.Process{Status: printable(words[6]), Pid: int(n[2]), Restarts: int(n[4])}
	if n[3] > 0 {
		r.Process.Started = time.Unix(n[3], 0)
	}
	for _, m := range rowMarks {
		*m.of(&r.Process) = strings.Contains(words[5], m.letter)
	}
	return r, true
}

// heardMachine is what an entry of the catalog says, whoever has written that.
func heardMachine(e consul.Entry) api.FleetMachine {
	m := api.FleetMachine{
		Host: printable(cmp.Or(e.Meta[saidHost], strings.TrimPrefix(e.ID, "gopm:"))), Home: printable(e.Meta[saidHome]), SSH: printable(e.Meta[saidSSH]),
		Address: printable(e.NodeIP), Version: printable(e.Meta[saidVersion]), Apps: []api.FleetApp{}, Instances: []api.Instance{},
	}
	m.Unlisted, _ = strconv.Atoi(e.Meta[saidUnlisted]) // 0: there are none
	if e.IsDown() {
		m.Down = cmp.Or(printable(e.Output), "its check is critical")
	}
	for _, key := range slices.Sorted(maps.Keys(e.Meta)) {
		if !strings.HasPrefix(key, saidApp) {
			continue
		}
		var part saidPart
		if err := json.Unmarshal([]byte(e.Meta[key]), &part); err != nil || printable(part.Name) == "" {
			continue // another version's, or nobody's
		}
		hear(&m, part)
	}
	return m
}

// maxHeardRows bounds what one machine may have others show.
const maxHeardRows = 5000

// hear adds a part to what is known of a machine.
func hear(m *api.FleetMachine, p saidPart) {
	name := printable(p.Name)
	at := slices.IndexFunc(m.Apps, func(a api.FleetApp) bool { return a.Name == name })
	first := api.Instance{Name: name, Version: printable(p.Version), Mode: printable(p.Mode), User: printable(p.User)}
	if at < 0 {
		m.Apps = append(m.Apps, api.FleetApp{Name: name, Fleet: p.Fleet, Release: printable(p.Release), Spec: printable(p.Spec)})
	} else if same := slices.IndexFunc(m.Instances, func(r api.Instance) bool { return r.Name == name }); same >= 0 {
		first.Version, first.Mode, first.User = m.Instances[same].Version, m.Instances[same].Mode, m.Instances[same].User
	}
	for _, text := range p.Rows {
		if row, ok := heardRow(text); ok && len(m.Instances) < maxHeardRows {
			row.Name, row.Version, row.Mode, row.User = first.Name, first.Version, first.Mode, first.User
			m.Instances = append(m.Instances, row)
		}
	}
}

// specSum is a short sum of what an app's file says, less what may be secret, and the files
// that are in the home unless it names them.
func specSum(spec ecosystem.App) string {
	spec.Env, spec.Consul.Agent = ecosystem.Env{}, ecosystem.ConsulAgent{}
	spec.Logs.Out, spec.Logs.Err, spec.PidFile = "", "", ""
	text, _ := json.Marshal(spec) // it can be written: the state is
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:3])
}
