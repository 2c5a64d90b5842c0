package daemon

import (
	"net/http"
	"os"
	"slices"
	"strconv"

	"gopm/daemon/api"
	"gopm/logs"
)

func (d *Daemon) ping(*http.Request) (any, error) {
	p := api.Ping{Version: d.cfg.Version, Pid: os.Getpid(), Home: d.cfg.Home.Dir, Started: d.started, KeeperPid: d.trust.pid()}
	p.Binary, p.Before, p.Refused = d.cfg.Binary, d.cfg.Estate.Before, d.cfg.Estate.Refused
	return p, nil
}

// targeted is the selection of a request's query; no target means all.
func (d *Daemon) targeted(r *http.Request) ([]*instance, error) {
	t := d.table.Load()
	targets := r.URL.Query()["target"]
	if len(targets) == 0 {
		return t.all(), nil
	}
	return t.selection(targets)
}

// listInstances sends the list in parts: while the reader decodes one, the
// processes of the next are measured.
func (d *Daemon) listInstances(r *http.Request, send func(any) error) error {
	picked, err := d.targeted(r)
	if err != nil {
		return err
	}
	const part = 25
	for some := range slices.Chunk(picked, part) {
		usage := d.usage.look(some)
		rows := make([]api.Instance, 0, len(some))
		for _, in := range some {
			if a := in.app.Load(); a != nil {
				rows = append(rows, row(a, in, usage[in]))
			}
		}
		if err := send(rows); err != nil {
			return err
		}
	}
	return nil
}

func (d *Daemon) listDetails(r *http.Request) (any, error) {
	picked, err := d.targeted(r)
	if err != nil {
		return nil, err
	}
	deep := r.URL.Query().Get("deep") != ""
	usage := d.usage.look(picked)
	details := make([]api.Detail, 0, len(picked))
	for _, in := range picked {
		a := in.app.Load()
		if a == nil {
			continue
		}
		detail := d.detail(a, in, usage[in])
		if deep {
			d.deepen(&detail, in)
		}
		details = append(details, detail)
	}
	return details, nil
}

// kill ends the daemon once every app is down; the answer comes after that.
func (d *Daemon) kill(r *http.Request) (any, error) {
	t := d.table.Load()
	d.tellOfDaemon("kill: stopping all apps")
	out := gather(t.all(), func(in *instance) (api.Started, string) { return api.Started{ID: in.id}, api.DidStop })
	d.end("kill")
	for _, in := range t.all() {
		if err := in.awaitStopped(r.Context()); err != nil {
			return nil, err
		}
	}
	d.rolls.running.Wait() // they are broken off
	return out, nil
}

// lastOutput is what the present run of an instance wrote, or, while that is new
// and silent, the run before it: who asks why a run failed may come after its
// successor has begun.
func (d *Daemon) lastOutput(r *http.Request) (any, error) {
	picked, err := d.targeted(r)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(r.URL.Query().Get("lines"))
	if err != nil || n < 0 || len(picked) != 1 {
		return nil, api.Errorf(api.KindInvalid, "want one target and a number of lines")
	}
	in := picked[0]
	now, before := in.marks.Load(), in.before.Load()
	var out api.Output
	if p := placeOf(in); p != nil {
		out.Why = firstOf(p.Refused, p.Trouble)
	}
	if now != nil {
		out.Out, out.Err = written(r, in.out, now.out, n), written(r, in.err, now.err, n)
	}
	s := in.proc.Snapshot()
	successor := s.LastExit != nil && s.LastExit.Incarnation < s.Incarnation
	if successor && before != nil && len(out.Out)+len(out.Err) == 0 {
		out.Out, _ = in.out.Between(before.out, now.out, n) // an error: it is not kept in a file
		out.Err, _ = in.err.Between(before.err, now.err, n)
	}
	return out, nil
}

func written(r *http.Request, s *logs.Stream, m logs.Mark, n int) []string {
	if s.Flush(r.Context()) != nil {
		return nil
	}
	lines, err := s.Since(m, n)
	if err != nil {
		return []string{"(cannot read the log: " + err.Error() + ")"}
	}
	return lines
}

// watch streams the targets' rows: all of them first, then each that changes.
func (d *Daemon) watch(r *http.Request, send func(any) error) error {
	f := d.hub.subscribe() // before looking, so that nothing is missed in between
	defer d.hub.unsubscribe(f)
	picked, err := d.targeted(r)
	if err != nil {
		return err
	}
	watched := map[int]bool{} // by id: a reload puts others into their places
	for _, in := range picked {
		watched[in.id] = true
		if err := sendRow(in, send); err != nil {
			return err
		}
	}
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-d.ending.closing:
			if d.ending.reason() == handedOver {
				return d.ending.refusal() // cut off: the reader asks the next daemon
			}
			return nil
		case <-f.wake:
		}
		for _, key := range f.take() {
			if in, ok := key.(*instance); ok && watched[in.id] {
				if err := sendRow(in, send); err != nil {
					return err
				}
			}
		}
	}
}

func sendRow(in *instance, send func(any) error) error {
	a := in.app.Load()
	if a == nil {
		return nil // deleted meanwhile
	}
	return send(row(a, in, api.Usage{}))
}
