package daemon

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gopm/cluster"
	"gopm/consul"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// Apps may be configured by keys in Consul: variables, and files. Here is what is decided
// from what the keys say; values_tuner.go asks and acts.

// values are what the keys of an app said at one time. They are never changed. In the
// home they are kept as JSON.
type values struct {
	Number uint64    `json:"number"` // the index of the agent's answer, but greater than those of the values before: a run remembers it as its edition
	Read   time.Time `json:"read"`
	Vars   []setting `json:"vars,omitempty"`  // by name
	Files  []setting `json:"files,omitempty"` // by path

	refused []refusal // what of the keys isn't used
	missing []string  // keys that aren't there
}

// setting is the value of one variable, or of one file.
type setting struct {
	Name  string `json:"name"` // or the file's path
	Value []byte `json:"value"`
	Key   string `json:"key"`
	Index uint64 `json:"index"` // of the key's last change
}

// refusal is a variable that isn't given to the app, and why.
type refusal struct {
	setting
	why string
}

// isConfigured says whether an app asks for values.
func isConfigured(spec ecosystem.App) bool {
	return spec.Consul.On && spec.Consul.Config.IsSet()
}

// lacksValues says that the app can't be started yet: it asks for values, and what they
// are was never heard.
func (a *app) lacksValues() bool { return isConfigured(a.spec) && a.values == nil }

// over lays the values over the variables that the app's file gives.
func (v *values) over(env *environ) {
	if v == nil {
		return
	}
	for _, s := range v.Vars {
		env.set(s.Name + "=" + string(s.Value))
	}
}

// launchConfigured is launch, but for a program whose values were never heard: without
// them it would be another one.
func (in *instance) launchConfigured(h *cluster.Host, inc uint64) (supervise.Launch, error) {
	if a := in.version.Load(); a != nil && a.lacksValues() {
		return supervise.Launch{}, fmt.Errorf("what it is configured with in Consul (%s) isn't known yet: gopm config %s", a.spec.Consul.Config.Env, a.spec.Name)
	}
	return in.launch(h, inc)
}

// names are those of the variables.
func (v *values) names() iter.Seq[string] {
	return func(yield func(string) bool) {
		if v == nil {
			return
		}
		for _, s := range v.Vars {
			if !yield(s.Name) {
				return
			}
		}
	}
}

// edition is the number of the values of an app; 0: it has none.
func (a *app) edition() uint64 {
	if a.values == nil {
		return 0
	}
	return a.values.Number
}

// isSame says whether two mean the same to the app.
func (v *values) isSame(o *values) bool {
	same := func(a, b setting) bool { return a.Name == b.Name && bytes.Equal(a.Value, b.Value) }
	return v != nil && o != nil && slices.EqualFunc(v.Vars, o.Vars, same) && slices.EqualFunc(v.Files, o.Files, same)
}

// answers are what the agent has said to all that is asked for an app.
type answers struct {
	env   []consul.Record   // at the key of the variables, and below it
	files [][]consul.Record // of each file's key
	index uint64            // the highest
}

// envKey is the key of an app's variables as Consul has it, and whether only what is below
// it is meant.
func envKey(c ecosystem.ConsulConfig) (key string, below bool) {
	key = strings.TrimPrefix(c.Env, "/")
	return strings.TrimRight(key, "/"), strings.HasSuffix(key, "/")
}

// fileKey is the key of a file as Consul has it.
func fileKey(f ecosystem.ConsulFile) string { return strings.TrimPrefix(f.Key, "/") }

// valuesOf makes values of answers. What can't be used of them is what it was in the values
// before, if it was there: nobody is to lose a variable by a slip of the hand. An error says
// that nothing can be used.
func valuesOf(c ecosystem.ConsulConfig, own names, got answers, before *values, now time.Time) (*values, error) {
	v := &values{Read: now, Number: got.index}
	if before == nil {
		before = &values{}
	}
	v.Number = max(v.Number, before.Number+1)
	if c.Env != "" {
		if err := v.takeVars(c, own, got.env, before); err != nil {
			return nil, err
		}
	}
	for i, f := range c.Files {
		if len(got.files[i]) > 0 {
			r := got.files[i][0]
			v.Files = append(v.Files, setting{f.Path, r.Value, r.Key, r.Index})
			continue
		}
		v.missing = append(v.missing, f.Key)
		if was := find(before.Files, f.Path); was != nil {
			v.Files = append(v.Files, *was)
		}
	}
	slices.SortFunc(v.Files, byName)
	return v, nil
}

func byName(a, b setting) int { return cmp.Compare(a.Name, b.Name) }

func find(all []setting, name string) *setting {
	if i := slices.IndexFunc(all, func(s setting) bool { return s.Name == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

// takeVars takes the variables: of the text at the key, and over them those whose keys are
// below it.
func (v *values) takeVars(c ecosystem.ConsulConfig, own names, records []consul.Record, before *values) error {
	key, belowOnly := envKey(c)
	found := map[string]setting{}
	any := false
	for _, r := range records { // in the order of their keys: the text comes first
		name, isBelow := strings.CutPrefix(r.Key, key+"/")
		switch {
		case r.Key == key && !belowOnly:
			any = true
			vars, err := ecosystem.Document(r.Value)
			if err != nil {
				return fmt.Errorf("%s: %v", r.Key, err)
			}
			for name, value := range vars {
				found[name] = setting{name, []byte(value), r.Key, r.Index}
			}
		case isBelow && name != "" && !strings.HasSuffix(name, "/"): // else it is a folder, as the web interface makes them
			any = true
			found[name] = setting{name, r.Value, r.Key, r.Index}
		}
	}
	if !any {
		v.missing = append(v.missing, c.Env)
		v.Vars = before.Vars
		return nil
	}
	room := mostInAll
	for _, s := range found {
		v.Vars = append(v.Vars, s)
	}
	slices.SortFunc(v.Vars, byName)
	v.Vars = slices.DeleteFunc(v.Vars, func(s setting) bool {
		why := firstOf(own.refuses(s.Name, c.Allow), unfit(s, room))
		if why != "" {
			v.refused = append(v.refused, refusal{s, why})
			return true
		}
		room -= len(s.Name) + len(s.Value)
		return false
	})
	v.keepRefused(own, c.Allow, before)
	return nil
}

// keepRefused leaves variables what they were whose new values can't be used.
func (v *values) keepRefused(own names, allow []string, before *values) {
	for i, r := range v.refused {
		if was := find(before.Vars, r.Name); was != nil && own.refuses(r.Name, allow) == "" {
			v.Vars = append(v.Vars, *was)
			v.refused[i].why += fmt.Sprintf("; its value of index %d stays", was.Index)
		}
	}
	slices.SortFunc(v.Vars, byName)
}

const (
	mostInOne = 128<<10 - 1 // the kernel starts no program with a longer variable, its name and end included
	mostInAll = 1 << 20     // of 2 MB that the kernel gives to arguments and environment
)

// unfit says why a value can't be in an environment; "": it can.
func unfit(s setting, room int) string {
	switch {
	case !utf8.Valid(s.Value):
		return "its value is no text (UTF-8)"
	case bytes.IndexByte(s.Value, 0) >= 0:
		return "a zero byte can't be in it"
	case len(s.Name)+len("=")+len(s.Value) > mostInOne:
		return fmt.Sprintf("it has %d bytes, and no program can be started with a variable of more than 128 KB: use consul.files", len(s.Value))
	case len(s.Name)+len(s.Value) > room:
		return "the variables before it take all the room there is (1 MB): use consul.files"
	}
	return ""
}
