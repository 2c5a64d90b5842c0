package daemon

import "gopm/daemon/api"

// selection resolves targets to instances: see api.Select, which commands use, too,
// on the list that a dead daemon has left.
func (t *table) selection(targets []string) ([]*instance, error) {
	positions, err := api.Select(t.labels(), targets)
	if err != nil {
		return nil, err
	}
	all := t.all()
	picked := make([]*instance, len(positions))
	for i, at := range positions {
		picked[i] = all[at]
	}
	return picked, nil
}

// labels is what targets may name, in the order of all.
func (t *table) labels() []api.Label {
	var all []api.Label
	for _, a := range t.apps {
		for _, in := range a.instances {
			all = append(all, api.Label{ID: in.id, Name: a.spec.Name, Namespace: a.spec.Namespace})
		}
	}
	return all
}

// known lists what there is, for the end of an error.
func (t *table) known() string { return api.Known(t.labels()) }
