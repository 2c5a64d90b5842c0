package daemon

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"gopm/daemon/api"
)

// environments is what the targets' programs were given, or will be given. It has
// a route of its own: the list must not carry secrets about.
func (d *Daemon) environments(r *http.Request) (any, error) {
	picked, err := d.targeted(r)
	if err != nil {
		return nil, err
	}
	found := make([]api.Environment, 0, len(picked))
	for _, in := range picked {
		a := in.app.Load()
		if a == nil {
			continue // deleted meanwhile
		}
		acc, err := lookupAccount(a.spec.Command)
		if err != nil {
			return nil, err
		}
		found = append(found, api.Environment{ID: in.id, Name: a.spec.Name, Index: in.index, Secrets: a.spec.Env.Secrets, Vars: variables(a, in, acc, d.cfg.Home.Dir, d.talk.entries(a)...)})
	}
	return found, nil
}

// variables are those of the command that runs, by name, and where each is from.
func variables(a *app, in *instance, acc account, home string, talk ...string) []api.Variable {
	from := map[string]string{}
	if acc.home != "" {
		from["HOME"], from["USER"], from["LOGNAME"] = api.FromGopm, api.FromGopm, api.FromGopm
	}
	for name := range a.spec.Env.Vars {
		from[name] = api.FromApp
	}
	for name := range a.values.names() {
		from[name] = api.FromKeys
	}
	for _, entry := range append(identity(a, in, home), talk...) {
		name, _, _ := strings.Cut(entry, "=")
		from[name] = api.FromGopm
	}
	env := newEnviron(buildCommand(a, in, acc, home).Env)
	env.set(talk...)
	var vars []api.Variable
	for _, entry := range env.list {
		name, value, _ := strings.Cut(entry, "=")
		vars = append(vars, api.Variable{Name: name, Value: value, From: cmp.Or(from[name], api.FromShell)})
	}
	slices.SortFunc(vars, func(a, b api.Variable) int { return cmp.Compare(a.Name, b.Name) })
	return vars
}
