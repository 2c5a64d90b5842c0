package ecosystem

// Flag is a field that is also a command-line option; cmd registers them all.
type Flag struct {
	Field     string // key for FromCommand and Override: "max_memory_restart"
	Name      string // "max-memory-restart"
	Shorthand string // "" or one letter
	Usage     string
	Bool      bool   // takes no value
	NoValue   string // what a Bool flag sets: "true", or "false" for --no-autorestart
	Ignored   bool   // it means nothing here
}

// Flags are the options of the field table, in its order.
func Flags() []Flag {
	var all []Flag
	for i := range table {
		f := &table[i]
		for _, o := range f.flags {
			usage := o.usage
			if usage == "" {
				usage = f.doc
			}
			switch {
			case f.stage == stageNode, f.stage == stageFixed:
				usage = "accepted and ignored: " + usage
			case f.def != "" && o.set == "":
				usage += " (default: " + f.def + ")"
			}
			all = append(all, Flag{
				Field: f.name, Name: o.name, Shorthand: o.short, Usage: usage,
				Bool: o.set != "", NoValue: o.set, Ignored: f.stage == stageNode || f.stage == stageFixed,
			})
		}
	}
	return all
}
