package api

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Label is what a target may name an instance by.
type Label struct {
	ID              int
	Name, Namespace string
}

// Select resolves targets to positions in all, in the order of the targets and
// without repeating any: exact name, then namespace, then id; "all"; /regex/ over
// names. A target that means nothing fails the whole selection: nothing is done.
func Select(all []Label, targets []string) ([]int, error) {
	var picked []int
	seen := make([]bool, len(all))
	for _, target := range targets {
		found, err := resolve(all, target)
		if err != nil {
			return nil, err
		}
		for _, i := range found {
			if !seen[i] {
				seen[i] = true
				picked = append(picked, i)
			}
		}
	}
	return picked, nil
}

func resolve(all []Label, target string) ([]int, error) {
	if target == "all" {
		return where(all, func(Label) bool { return true }), nil
	}
	if re, ok := asRegexp(target); ok {
		return matching(all, target, re)
	}
	if found := where(all, func(l Label) bool { return l.Name == target }); len(found) > 0 {
		return found, nil
	}
	if found := where(all, func(l Label) bool { return l.Namespace == target }); len(found) > 0 {
		return found, nil
	}
	if id, err := strconv.Atoi(target); err == nil {
		found := where(all, func(l Label) bool { return l.ID == id })
		if len(found) == 0 {
			return nil, Errorf(KindNotFound, "no instance has the id %d%s", id, Known(all))
		}
		return found, nil
	}
	return nil, Errorf(KindNotFound, "no app or namespace named %q%s", target, Known(all))
}

func matching(all []Label, target, re string) ([]int, error) {
	rx, err := regexp.Compile(re)
	if err != nil {
		return nil, Errorf(KindInvalid, "cannot understand %s: %v", target, err)
	}
	found := where(all, func(l Label) bool { return rx.MatchString(l.Name) })
	if len(found) == 0 {
		return nil, Errorf(KindNotFound, "no app's name matches %s%s", target, Known(all))
	}
	return found, nil
}

func asRegexp(target string) (string, bool) {
	if len(target) > 2 && strings.HasPrefix(target, "/") && strings.HasSuffix(target, "/") {
		return target[1 : len(target)-1], true
	}
	return "", false
}

func where(all []Label, keep func(Label) bool) (found []int) {
	for i, l := range all {
		if keep(l) {
			found = append(found, i)
		}
	}
	return found
}

// Known lists what there is, for the end of an error. Instances of an app stand together.
func Known(all []Label) string {
	if len(all) == 0 {
		return "; there are no apps"
	}
	names := make([]string, len(all))
	for i, l := range all {
		names[i] = l.Name
	}
	names = slices.Compact(names)
	const most = 10
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("… %d more", len(names)-most))
	}
	return "; there are: " + strings.Join(names, ", ")
}
