package ecosystem

// clusterSchemas are the forms that the values of cluster mode's fields may have.
func (k valueKind) clusterSchemas() []any {
	switch k {
	case portsValue:
		port := object{"anyOf": []any{integer(1, maxPort), pattern(wholeText)}}
		return []any{integer(1, maxPort), pattern("[0-9 ,]+"), object{"type": "array", "items": port, "minItems": 1}}
	case balanceValue:
		return []any{words(BalanceEven, BalanceRandom, BalanceSource)}
	case listenValue:
		socket := []any{integer(1, maxPort), pattern(`(unix:.+|/.+|(tcp[46]?://)?(.*:)?[0-9]+)`)}
		one := append(socket, partsSchema([]string{"address"}, object{
			"address": partSchema("where: tcp://address:port or unix:path", socket...),
			"name":    partSchema("in LISTEN_FDNAMES", scalarSchema()),
		}))
		return append(one, object{"type": "array", "items": object{"anyOf": one}})
	case reloadValue:
		return []any{partsSchema(nil, object{
			"surge":       partSchema("new instances that may run beside all the old ones (default: 1)", countValue.schemas()...),
			"unavailable": partSchema("old instances that may go before their successors are ready (default: 0)", countValue.schemas()...),
			"canary":      partSchema("how long the first new instance is watched alone; true: 10s (default: false)", append(durationSchemas(), words(true, false, "true", "false"))...),
		})}
	case drainValue:
		mode := words(DrainOutside, DrainSignal, DrainOff, false, "false")
		return []any{mode, words(true, "true"), partsSchema(nil, object{
			"mode":    partSchema("who ends the connections: gopm, the program, nobody", mode),
			"timeout": partSchema("the most that it may take (default: 10s)", durationSchemas()...),
			"idle":    partSchema("silence after which a kept connection is closed from outside (default: 2s)", durationSchemas()...),
		})}
	case standbyValue:
		return []any{partsSchema(nil, object{
			"promote": partSchema("done when the instance has become active", hookSchemas()...),
			"demote":  partSchema("done when the instance is no longer active", hookSchemas()...),
		})}
	}
	return k.lifeSchemas()
}

// hookSchemas are the forms of a Hook.
func hookSchemas() []any {
	timeout, none := partSchema("(default: 5s)", durationSchemas()...), object{"type": "null"}
	text := object{"type": "string", "minLength": 1}
	request := requestSchema("POST")
	return []any{
		partsSchema([]string{"http"}, object{"http": request, "exec": none, "timeout": timeout}),
		partsSchema([]string{"exec"}, object{"exec": partSchema("command line for a shell, in the app's folder", text), "http": none, "timeout": timeout}),
	}
}

// requestSchema is the object of an HTTP request with that method, if it names none.
func requestSchema(method string) object {
	return partsSchema([]string{"url"}, object{
		"url":     partSchema(PortMark+" stands for the instance's port", pattern("https?://.+")),
		"method":  partSchema("(default: "+method+")", pattern("[A-Za-z]+")),
		"body":    object{"description": "an object or a list is sent as JSON"},
		"headers": object{"type": []string{"object", "null"}, "propertyNames": object{"pattern": "^[A-Za-z0-9_-]+$"}},
	})
}

// partsSchema is an object with these parts and no others.
func partsSchema(required []string, parts object) object {
	s := object{"type": "object", "properties": parts, "additionalProperties": false}
	if required != nil {
		s["required"] = required
	}
	return s
}

// partSchema is one part; a null is as if it weren't there.
func partSchema(doc string, forms ...any) object {
	return object{"description": doc, "anyOf": append(forms, object{"type": "null"})}
}
