package ecosystem

import (
	"fmt"
	"strconv"
	"strings"
)

// reader is one reading of a file or a command line; it collects what is wrong.
type reader struct {
	name        string // the file as the user named it; "" = a command line
	commandLine bool
	dir         string // relative paths start here
	world       *world
	consul      Consul // what the file says at its top: the default of its apps
	problems    Problems
	unused      []*unused
}

// unused is a field that was accepted but does nothing.
type unused struct {
	field *field
	label string
	place
	more int // further apps that have it
}

// add adds a remark. It may have words of the file in it, which do nothing to a terminal.
func (r *reader) add(s Severity, at place, path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	r.problems = append(r.problems, Problem{s, r.name, at.line, at.col, printable(text)})
}

func (r *reader) errorf(at place, path, format string, args ...any) {
	r.add(SeverityError, at, path, format, args...)
}

func (r *reader) warnf(at place, path, format string, args ...any) {
	r.add(SeverityWarning, at, path, format, args...)
}

// done is everything that was found, in order: a note for each field whose
// choice is fixed, and one for all that mean nothing here.
func (r *reader) done() Problems {
	var first *unused
	var names []string
	for _, u := range r.unused {
		if u.field.stage == stageNode {
			if first == nil {
				first = u
			}
			names = append(names, u.field.name)
			continue
		}
		text := "no effect here: " + u.field.doc
		if u.more > 0 {
			text += fmt.Sprintf(" (also in %d more)", u.more)
		}
		r.add(SeverityNote, u.place, u.label, "%s", text)
	}
	if first != nil {
		r.add(SeverityNote, first.place, first.label, "pm2's internals and services, no effect here: %s", strings.Join(names, ", "))
	}
	return r.problems.sorted()
}

// noteUnused remembers a field that does nothing, once per field.
func (r *reader) noteUnused(f *field, label string, at place) {
	for _, u := range r.unused {
		if u.field == f {
			u.more++
			return
		}
	}
	r.unused = append(r.unused, &unused{field: f, label: label, place: at})
}

// topNames are what may stand beside the list of apps.
func topNames() []string {
	return []string{"apps", "pm2", "deploy", "static", "$schema", "consul"}
}

// apps finds the apps in a file: {apps: [...]}, {pm2: [...]}, a list, or one
// app. A package.json may have anything beside its pm2.
func (r *reader) apps(root *node, isPackage bool) []*draft {
	list, path := root, ""
	switch {
	case root.kind == kindList:
	case root.kind != kindObject:
		r.errorf(root.place, "", `want {"apps": [...]}, got %s`, root.describe())
		return nil
	case root.get("apps") != nil:
		list, path = root.get("apps"), "apps"
	case root.get("pm2") != nil && !root.get("pm2").isOff() && (isPackage || root.get("script") == nil):
		list, path = root.get("pm2"), "pm2"
	case isPackage:
		r.errorf(place{}, "", `a package.json needs a list "pm2" to be an ecosystem file`)
		return nil
	default:
		r.topLevel(root, "")
		return r.unique([]*draft{r.app(root, "", true)})
	}
	if root.kind == kindObject && !isPackage {
		r.topLevel(root, path)
	}
	if list.kind == kindObject {
		return r.unique([]*draft{r.app(list, path, false)})
	}
	if list.kind != kindList {
		r.errorf(list.place, path, "want a list of apps, got %s", list.describe())
		return nil
	}
	if len(list.items) == 0 {
		r.errorf(list.place, path, "the list is empty: nothing to start")
	}
	var drafts []*draft
	for i, item := range list.items {
		drafts = append(drafts, r.app(item, path+"["+strconv.Itoa(i)+"]", false))
	}
	return r.unique(drafts)
}

// topLevel checks what stands beside the list named path; with path "" the root
// is an app itself, and its other names are checked as fields.
func (r *reader) topLevel(root *node, path string) {
	for _, m := range root.members {
		switch {
		case m.name == path, strings.HasPrefix(m.name, "x-"), m.name == "$schema", m.name == "deploy":
		case m.name == "static":
			if !m.value.isOff() {
				r.warnf(m.place, m.name, "gopm serves no folders, ignored: make an app of a web server")
			}
		case m.name == "pm2":
			if !m.value.isOff() {
				r.warnf(m.place, m.name, "ignored: the file has its apps elsewhere too")
			}
		case path == "":
		case m.name == "consul":
			r.topConsul(m)
		case byName()[m.name] != nil:
			r.errorf(m.place, m.name, "is a field of an app: move it into %s", path)
		default:
			r.errorf(m.place, m.name, "unknown name at the top of the file%s", didYouMean(m.name, topNames()))
		}
	}
}

// unique reports apps that share a name.
func (r *reader) unique(drafts []*draft) []*draft {
	first := map[string]*draft{}
	for _, d := range drafts {
		name := d.app.Name
		other := first[name]
		switch {
		case name == "":
		case other == nil:
			first[name] = d
		default:
			by := other.path
			if other.at.line > 0 {
				by += fmt.Sprintf(" in line %d", other.at.line)
			}
			at := d.at
			if g, ok := d.given["name"]; ok {
				at = g.value
			}
			r.errorf(at, join(d.path, "name"), "%q is also the name of %s; give each app its own name", name, by)
		}
	}
	return drafts
}
