package daemon

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"gopm/daemon/api"
)

// selection resolves targets to instances, in the order of the targets and
// without repeating any: exact name, then namespace, then id; "all"; /regex/ over
// names. A target that means nothing fails the whole selection: nothing is done.
func (t *table) selection(targets []string) ([]*instance, error) {
	var picked []*instance
	seen := map[int]bool{}
	for _, target := range targets {
		found, err := t.resolve(target)
		if err != nil {
			return nil, err
		}
		for _, in := range found {
			if !seen[in.id] {
				seen[in.id] = true
				picked = append(picked, in)
			}
		}
	}
	return picked, nil
}

func (t *table) resolve(target string) ([]*instance, error) {
	if target == "all" {
		return t.all(), nil
	}
	if re, ok := asRegexp(target); ok {
		return t.matching(target, re)
	}
	if a := t.app(target); a != nil {
		return a.instances, nil
	}
	if found := t.where(func(a *app, _ *instance) bool { return a.spec.Namespace == target }); len(found) > 0 {
		return found, nil
	}
	if id, err := strconv.Atoi(target); err == nil {
		found := t.where(func(_ *app, in *instance) bool { return in.id == id })
		if len(found) == 0 {
			return nil, api.Errorf(api.KindNotFound, "no instance has the id %d%s", id, t.known())
		}
		return found, nil
	}
	return nil, api.Errorf(api.KindNotFound, "no app or namespace named %q%s", target, t.known())
}

func (t *table) matching(target, re string) ([]*instance, error) {
	rx, err := regexp.Compile(re)
	if err != nil {
		return nil, api.Errorf(api.KindInvalid, "cannot understand %s: %v", target, err)
	}
	found := t.where(func(a *app, _ *instance) bool { return rx.MatchString(a.spec.Name) })
	if len(found) == 0 {
		return nil, api.Errorf(api.KindNotFound, "no app's name matches %s%s", target, t.known())
	}
	return found, nil
}

func asRegexp(target string) (string, bool) {
	if len(target) > 2 && strings.HasPrefix(target, "/") && strings.HasSuffix(target, "/") {
		return target[1 : len(target)-1], true
	}
	return "", false
}

// known lists what there is, for the end of an error.
func (t *table) known() string {
	if len(t.apps) == 0 {
		return "; there are no apps"
	}
	names := make([]string, 0, len(t.apps))
	for _, a := range t.apps {
		names = append(names, a.spec.Name)
	}
	const most = 10
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("… %d more", len(names)-most))
	}
	return "; there are: " + strings.Join(names, ", ")
}
