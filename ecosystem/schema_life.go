package ecosystem

// lifeSchemas are the forms that the values of Life's fields may have.
func (k valueKind) lifeSchemas() []any {
	text := object{"type": "string", "minLength": 1}
	port := []any{integer(1, maxPort), pattern(wholeText)}
	switch k {
	case readyValue:
		return append(port, words(ReadyMessage, ReadyPort, ReadyHealth, ReadyUptime),
			partsSchema([]string{"log"}, object{"log": partSchema("a regular expression that a line of the output matches", scalarSchema()), "port": object{"type": "null"}}),
			partsSchema([]string{"port"}, object{"port": partSchema("a port on which it listens", port...), "log": object{"type": "null"}}))
	case healthValue:
		return healthSchemas()
	case dependsValue:
		until := words(UntilReady, UntilHealthy, UntilStarted, UntilCompleted)
		return []any{text, object{"type": "array", "items": scalarSchema()},
			object{"type": "object", "additionalProperties": until, "propertyNames": object{"pattern": "^[^-/].*$"}}}
	case onExitValue:
		return []any{words(OnExitIgnore, OnExitStop, OnExitRestart)}
	case commandValue:
		return []any{text, words(false), partsSchema([]string{"exec"}, object{
			"exec":    partSchema("command line for a shell, in the app's folder", object{"type": []string{"string", "number", "boolean"}, "minLength": 1}),
			"timeout": partSchema("the most that it may take (default: 60s for pre_start, else 10s)", durationSchemas()...),
		})}
	case jobValue:
		at := scheduleValue.schemas()
		return append(at, partsSchema([]string{"at"}, object{
			"at":      partSchema("when it runs", at...),
			"overlap": partSchema("what becomes of a run that is due while the one before still runs (default: skip)", words(OverlapSkip, OverlapQueue, OverlapKill)),
			"timeout": partSchema("the most that a run may take (default: 0, none)", durationSchemas()...),
		}))
	case watchValue:
		return watchSchemas()
	case watchOptionsValue:
		return []any{object{"type": "object", "properties": object{
			"usePolling":     partSchema("look instead of being told", boolValue.schemas()...),
			"interval":       partSchema("of usePolling", durationSchemas()...),
			"followSymlinks": partSchema("watch folders behind symbolic links, too", boolValue.schemas()...),
			"ignored":        partSchema("as ignore_watch", textsValue.schemas()...),
		}}}
	}
	return k.fleetSchemas()
}

// healthSchemas are the forms of health.
func healthSchemas() []any {
	url := pattern("https?://.+")
	target := []any{integer(1, maxPort), object{"type": "string", "minLength": 1}}
	time := func(doc string) object { return partSchema(doc, durationSchemas()...) }
	return []any{integer(1, maxPort), object{"type": "string", "minLength": 1}, words(false), partsSchema(nil, object{
		"http":         partSchema("an answer below 400 is good", url, requestSchema("GET")),
		"tcp":          partSchema("a port, or an address to connect to", target...),
		"exec":         partSchema("command line for a shell, in the app's folder; code 0 is good", object{"type": []string{"string", "number", "boolean"}, "minLength": 1}),
		"interval":     time("from the begin of one check to that of the next (default: 10s)"),
		"timeout":      time("of one check (default: 3s)"),
		"retries":      partSchema("failures in a row that make it unhealthy (default: 3)", object{"type": "integer", "minimum": 1}, pattern(wholeText)),
		"start_period": time("failures so soon after the start don't count (default: 0)"),
		"on_fail":      partSchema("what is done: it is shown, or restarted (default: mark)", words(OnFailMark, OnFailRestart)),
		"watchdog":     time("WATCHDOG=1 has to come by sd_notify at least so often (default: 0, it needn't)"),
	})}
}

// watchSchemas are the forms of watch.
func watchSchemas() []any {
	text := object{"type": "string", "minLength": 1}
	on := boolValue.schemas()
	paths := append(on, text, object{"type": "array", "items": text})
	return append(paths, partsSchema(nil, object{
		"paths":        partSchema("files and folders (default: cwd)", paths...),
		"ignore":       partSchema("as ignore_watch", textsValue.schemas()...),
		"gitignore":    partSchema("ignore what .gitignore says, too (default: false)", on...),
		"delay":        partSchema("as watch_delay (default: 200ms)", durationSchemas()...),
		"poll":         partSchema("look so often instead of being told; true: 1s (default: false)", append(on, durationSchemas()...)...),
		"follow_links": partSchema("watch folders behind symbolic links, too (default: false)", on...),
	}))
}
