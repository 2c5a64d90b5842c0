package daemon

import (
	"encoding/json"
	"fmt"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/logs"
)

// scribe writes the table down as the state document. What an app is doesn't change
// often, and takes most of the time: its text is kept. Only the store calls it, one
// document at a time.
type scribe struct {
	d     *Daemon
	heads map[*app]head
	names map[*string]string // of environments, by their first entry: apps share them
}

// head is an app without its instances.
type head struct {
	text []byte
	env  string
}

// document is the state as it is now: one line per app and one per instance, for
// people who look into it.
func (w *scribe) document(sequence uint64) document {
	t := w.d.table.Load()
	doc := document{envs: map[string][]string{}}
	heads, names := map[*app]head{}, map[*string]string{}
	text := fmt.Appendf(nil, `{"format": %d, "gopm": %s, "boot_id": %s, "sequence": %d, "written": %s,`+"\n",
		api.StateFormat, encode(w.d.cfg.Version), encode(api.BootID()), sequence, encode(time.Now()))
	if how := w.d.ending.reason(); how != "" && how != handedOver {
		text = fmt.Appendf(text, ` "ended": %s,`+"\n", encode(how))
	}
	if n := w.d.store.done.revivals; n > 0 {
		text = fmt.Appendf(text, ` "revivals": %d,`+"\n", n)
	}
	text = append(text, ` "apps": [`...)
	for i, a := range t.apps {
		if i > 0 {
			text = append(text, ',')
		}
		h, known := w.heads[a]
		if !known {
			h.env = w.name(a.inherited, names)
			h.text = headText(a, h.env)
		}
		heads[a] = h
		doc.envs[h.env] = a.inherited
		text = append(append(text, '\n'), h.text...)
		text = appendInstances(text, a)
	}
	doc.text = append(text, "\n ], \"complete\": true}\n"...)
	w.heads, w.names = heads, names
	return doc
}

// name is that of an environment's file.
func (w *scribe) name(env []string, names map[*string]string) string {
	if len(env) == 0 {
		return envName(nil)
	}
	key := &env[0]
	if names[key] == "" {
		if names[key] = w.names[key]; names[key] == "" {
			names[key] = envName(env)
		}
	}
	return names[key]
}

// headText is an app as JSON up to its instances, with the brace still open.
func headText(a *app, env string) []byte {
	text := encode(api.SavedApp{Spec: a.spec, Origin: a.origin, User: a.user, Env: env, Created: a.created})
	const tail = `,"instances":null}`
	return text[:len(text)-len(tail)]
}

func appendInstances(text []byte, a *app) []byte {
	text = append(text, `,"instances":[`...)
	for i, in := range a.instances {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(append(text, "\n  "...), encode(saved(in))...)
	}
	return append(text, "]}"...)
}

// saved is an instance as it is kept.
func saved(in *instance) api.SavedInstance {
	m := in.proc.Machine()
	if a := in.app.Load(); a != nil && m.Inc < in.ordered.Load() { // as if it knew already
		m, _ = supervise.Step(m, a.policy, supervise.Event{Kind: supervise.EvStart, At: time.Now()})
	}
	s := m.Snapshot()
	return api.SavedInstance{
		ID: in.id, Index: in.index, Life: in.life, Want: in.isWanted(s), Rested: in.restedBy(), SavedOrder: api.SavedOrder{Wait: savedWait(in), Doomed: in.doomed.Load(), Permit: savedPermit(in)},
		Process: process(s), Start: s.StartTime, Machine: encode(m),
		Out: savedLog(in.out), Err: savedLog(in.err), Duty: dutyOf(in),
		Timed: in.times(), Health: healthOf(in), SavedPast: api.SavedPast{Marks: savedMarks(in), Tally: in.tally.all()},
	}
}

func savedLog(s *logs.Stream) api.SavedLog {
	st := s.Stats()
	return api.SavedLog{Path: st.Path, Pipe: s.PipeID(), Bytes: st.Bytes, Dropped: st.Dropped, DroppedSince: st.DroppedSince, Rotations: st.Rotations, Refused: st.Error}
}

// encode is JSON of what can always be encoded.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("internal error: cannot encode %T: %v", v, err))
	}
	return text
}
