package ecosystem

// fleetSchemas are the forms that the values of Fleet's fields may have.
func (k valueKind) fleetSchemas() []any {
	switch k {
	case consulValue:
		return append(boolValue.schemas(), consulSchema())
	case singletonValue:
		lock := []any{pattern("[^/].*")}
		parts := object{
			"mode":    partSchema("what instances without the lock do: they aren't started, are booted, or run and are told (default: cold; hot with standby.promote or spares)", words(SingletonCold, SingletonHot, SingletonRole)),
			"on_lost": partSchema("what becomes of the process when the lock can't be held any more (default: stop)", words(OnLostStop, OnLostKeep)),
			"ttl":     partSchema("after which Consul gives the lock of a dead machine away; 10s to 24h (default: 10s)", durationSchemas()...),
			"signal":  partSchema("to a process whose role has changed (default: none)", signalValue.schemas()...),
		}
		withNames(parts, partSchema("the key that is locked", lock...), "lock", "key")
		return append(lock, words(false), partsSchema(nil, parts))
	}
	return k.boundsSchemas()
}

// withNames adds a part that goes by several names.
func withNames(parts object, s object, names ...string) {
	for _, name := range names {
		parts[name] = s
	}
}

func consulSchema() object {
	text, on := scalarSchema(), boolValue.schemas()
	key := pattern("[^/].*")
	parts := object{
		"agent":            partSchema("where Consul's agent is (default: CONSUL_HTTP_ADDR, else 127.0.0.1:8500)", pattern("(unix:///.+|(https?://)?[^/ ]+/?)"), agentSchema()),
		"service":          partSchema("the name it is registered as; false: it isn't (default: the app's)", append(on, object{"type": []string{"string", "number"}})...),
		"tags":             partSchema("{instance} stands for the instance's number", textsValue.schemas()...),
		"meta":             partSchema("pairs of texts", object{"type": "object", "propertyNames": object{"pattern": "^[A-Za-z0-9_-]{1,128}$"}, "additionalProperties": text}),
		"address":          partSchema("(default: the agent's)", text),
		"port":             partSchema("(default: what the instance is seen to listen on)", integer(1, maxPort), pattern(wholeText)),
		"weights":          partSchema("of an instance whose checks pass, and of one with a warning", partsSchema(nil, object{"passing": partSchema("(default: 1)", integer(1, 65535), pattern(wholeText)), "warning": partSchema("(default: 1)", integer(0, 65535), pattern(wholeText))})),
		"deregister_delay": partSchema("time between leaving the catalog's passing ones and being stopped (default: 0)", durationSchemas()...),
		"env":              partSchema("a folder of keys, each a variable, or one key with JSON or lines A=b", key),
		"files":            partSchema("paths, and the keys whose values they hold", object{"type": "object", "additionalProperties": object{"anyOf": []any{key, fileSchema()}}}),
		"on_change":        partSchema("what is done when a value has changed (default: reload)", words(OnChangeReload, OnChangeRestart, OnChangeNothing), pattern("[A-Za-z0-9]+")),
		"debounce":         partSchema("of silence after a change (default: 500ms)", durationSchemas()...),
		"allow":            partSchema("variables that env may set though they can run a program", textsValue.schemas()...),
		"fleet":            partSchema("machines take turns: at a change, and at gopm fleet reload (default: false)", on...),
	}
	withNames(parts, partSchema("time of being critical after which Consul forgets it; at least 1m (default: 10m)", durationSchemas()...), "deregister_after", "deregister_critical_service_after")
	check := []any{integer(1, maxPort), object{"type": "string", "minLength": 1}, checkSchema()}
	withNames(parts, partSchema("that Consul makes besides gopm's own", append(check, object{"type": "array", "items": object{"anyOf": check}})...), "checks", "check")
	return partsSchema(nil, parts)
}

func agentSchema() object {
	text, on := object{"type": []string{"string", "number", "boolean"}, "minLength": 1}, boolValue.schemas()
	parts := object{
		"token":      partSchema("of its ACL", text),
		"token_file": partSchema("a file that holds the token", text),
		"namespace":  partSchema("of Consul Enterprise", text),
		"partition":  partSchema("of Consul Enterprise", text),
		"ca_file":    partSchema("certificate of who signed the agent's", text),
		"ca_path":    partSchema("a folder of such", text),
	}
	withNames(parts, partSchema("(default: CONSUL_HTTP_ADDR, else 127.0.0.1:8500)", pattern("(unix:///.+|(https?://)?[^/ ]+/?)")), "address", "http_addr")
	withNames(parts, partSchema("(default: the agent's)", text), "datacenter", "dc")
	withNames(parts, partSchema("gopm's certificate", text), "cert_file", "client_cert")
	withNames(parts, partSchema("its key", text), "key_file", "client_key")
	withNames(parts, partSchema("the name in the agent's certificate", text), "server_name", "tls_server_name")
	withNames(parts, partSchema("the certificate isn't checked (default: false)", on...), "insecure", "tls_skip_verify", "insecure_skip_verify")
	return partsSchema(nil, parts)
}

func fileSchema() object {
	return partsSchema([]string{"key"}, object{
		"key":   object{"type": "string", "pattern": "^[^/].*$"},
		"mode":  partSchema("(default: 0600)", pattern("(0o)?[0-7]+"), object{"type": "integer"}),
		"owner": partSchema("(default: who the app runs as)", scalarSchema()),
		"group": partSchema("(default: the owner's)", scalarSchema()),
	})
}

func checkSchema() object {
	value := []any{scalarSchema(), object{"type": "array", "items": scalarSchema()}}
	parts := object{
		"name":            partSchema("for people", scalarSchema()),
		"http":            partSchema("{port} stands for the instance's", pattern("https?://.+")),
		"tcp":             partSchema("a port, or an address to connect to", integer(1, maxPort), object{"type": "string", "minLength": 1}),
		"grpc":            partSchema("address, or address/service", object{"type": "string", "minLength": 1}),
		"interval":        partSchema("at least 1s (default: 10s)", durationSchemas()...),
		"timeout":         partSchema("(default: 3s)", durationSchemas()...),
		"method":          partSchema("of http (default: GET)", pattern("[A-Za-z]+")),
		"body":            partSchema("of http", scalarSchema()),
		"tls_skip_verify": partSchema("the certificate isn't checked (default: false)", boolValue.schemas()...),
		"grpc_use_tls":    partSchema("(default: false)", boolValue.schemas()...),
	}
	withNames(parts, partSchema("of http", object{"type": "object", "propertyNames": object{"pattern": "^[A-Za-z0-9_-]+$"}, "additionalProperties": object{"anyOf": value}}), "headers", "header")
	return partsSchema(nil, parts)
}
