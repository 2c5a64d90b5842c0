package ecosystem

// deploySchema is the schema of the block "deploy".
func deploySchema() object {
	scalar := scalarSchema()
	texts := object{"anyOf": []any{scalar, object{"type": "array", "items": scalar}}}
	doc := func(s object, text string) object {
		s["description"] = text
		return s
	}
	fields := object{
		"host":             doc(object{"anyOf": texts["anyOf"]}, "a host or a list of hosts; user@host too"),
		"user":             doc(scalarSchema(), "who logs in there"),
		"key":              doc(scalarSchema(), "file of the key, on this machine"),
		"port":             object{"anyOf": []any{integer(1, maxPort), pattern(wholeText)}, "description": "ssh's port"},
		"ssh_options":      doc(object{"anyOf": texts["anyOf"]}, `like "StrictHostKeyChecking=accept-new"`),
		"forward-agent":    doc(words(true, false, "true", "false", "yes", "no"), "lend the host your ssh agent"),
		"repo":             doc(scalarSchema(), "what git on the host can fetch from"),
		"ref":              doc(scalarSchema(), "branch, tag or commit (default: the repository's own branch)"),
		"path":             doc(scalarSchema(), "the app's folder on the host; $HOME/… and relative ones are below the user's home"),
		"fetch":            doc(words("full", "fast"), "fast: the newest commits only"),
		"keep":             object{"anyOf": []any{object{"type": "integer", "minimum": 1}, pattern(wholeText)}, "description": "releases that stay (default: 5)"},
		"env":              varsSchema("variables for all commands on the host"),
		"pre-setup":        doc(scalarSchema(), "command on the host, before setup"),
		"post-setup":       doc(scalarSchema(), "command on the host, after setup"),
		"pre-deploy-local": doc(scalarSchema(), "command on this machine, before anything is fetched"),
		"pre-deploy":       doc(scalarSchema(), "command in the new release, before it becomes current"),
		"post-deploy":      doc(scalarSchema(), "command in the current release (default: gopm startOrReload)"),
		"needs_tty":        object{"deprecated": true, "description": "no effect here"},
	}
	for name, f := range fields {
		if f, ok := f.(object); ok && name != "env" && name != "needs_tty" { // null is as if it weren't there
			fields[name] = object{"anyOf": []any{f, object{"type": "null"}}}
		}
	}
	return object{
		"type":        "object",
		"description": "environments that gopm deploy brings the code to",
		"additionalProperties": object{
			"type": "object", "properties": fields, "required": []string{"host", "repo", "path"}, "additionalProperties": false,
		},
		"patternProperties": object{"^x-": object{}},
	}
}
