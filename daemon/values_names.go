package daemon

import (
	"slices"
	"strings"

	"gopm/ecosystem"
)

// To write a key is not to be a way to run a program. So keys may not set variables by
// which a loader, a shell or an interpreter is told to run something else, unless the app
// lists them in consul.allow; and never those that gopm sets itself.

// names are the variables of an app that gopm sets itself.
type names []string

// ownNames are those of an app.
func ownNames(spec ecosystem.App) names {
	return names{spec.Scale.InstanceVar, "name", "pm_id", "namespace"}
}

// dangerousPrefixes begin the names of whole families.
var dangerousPrefixes = []string{
	"LD_", "DYLD_", "GCONV_", "GLIBC_", "BASH_", "PYTHON", "PERL", "RUBY", "GEM_", "BUNDLE_", "LUA_",
	"DOTNET_STARTUP_", "DOTNET_ROOT", "CORECLR_", "COR_", "COMPLUS_", "GIT_", "ERL_", "R_PROFILE", "R_ENVIRON", "JULIA_",
	"OPENSSL_", "NPM_CONFIG_", "YARN_", "TS_NODE_", "CARGO_", "RUSTC", "SUDO_", "SYSTEMD_", "BUN_", "DENO_", "CLASSPATH", "MONO_", "R_LIBS", "MAGICK_", "VK_",
}

// dangerous are single names.
var dangerous = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "IFS", "ENV", "SHELLOPTS", "BASHOPTS", "PROMPT_COMMAND", "PS1", "PS4", "CDPATH", "ZDOTDIR", "FPATH",
	"NODE_OPTIONS", "NODE_PATH", "NODE_REPL_EXTERNAL_MODULE", "NODE_COMPILE_CACHE", "NODE_V8_COVERAGE", "ELECTRON_RUN_AS_NODE",
	"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "JDK_JAVAC_OPTIONS", "JAVA_OPTS", "JAVA_HOME", "JRE_HOME",
	"CATALINA_OPTS", "MAVEN_OPTS", "GRADLE_OPTS", "SBT_OPTS", "ELIXIR_ERL_OPTIONS",
	"DOTNET_ADDITIONAL_DEPS", "DOTNET_SHARED_STORE", "DOTNET_HOST_PATH", "PHPRC", "PHP_INI_SCAN_DIR", "TCLLIBPATH", "AWKPATH", "AWKLIBPATH", "GUILE_LOAD_PATH",
	"SSH_ASKPASS", "EDITOR", "VISUAL", "PAGER", "MANPAGER", "BROWSER", "LESSOPEN", "LESSCLOSE", "VIMINIT", "EXINIT", "MAKEFLAGS", "GNUMAKEFLAGS", "GOFLAGS",
	"GTK_MODULES", "GTK_PATH", "GIO_EXTRA_MODULES", "QT_PLUGIN_PATH", "QML2_IMPORT_PATH", "XDG_CONFIG_HOME", "XDG_DATA_DIRS", "TERMINFO", "NLSPATH", "KRB5_CONFIG", "SASL_PATH", "GST_PLUGIN_PATH", "LIBGL_DRIVERS_PATH", "CAML_LD_LIBRARY_PATH",
}

// refuses says why a key may not set a variable; "": it may.
func (own names) refuses(name string, allow []string) string {
	upper := strings.ToUpper(name) // npm reads its variables in either case
	switch {
	case !isPlainName(name):
		return "it can't be the name of a variable"
	case slices.Contains(own, name), strings.HasPrefix(name, "GOPM_"), isOfRun(name):
		return "gopm sets it itself"
	case slices.Contains(allow, name):
		return ""
	case slices.Contains(dangerous, upper), slices.ContainsFunc(dangerousPrefixes, func(p string) bool { return strings.HasPrefix(upper, p) }):
		return "it can have another program run: list it in consul.allow if keys may set it"
	}
	return ""
}

// isOfRun says whether a variable tells one process what it was given by who starts it.
func isOfRun(name string) bool {
	switch name {
	case "NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", "NODE_UNIQUE_ID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
		"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "INVOCATION_ID", "JOURNAL_STREAM", "MAINPID":
		return true
	}
	return false
}

// isPlainName says whether a name is one that programs and shells can read.
func isPlainName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || (r < '0' || r > '9') && r != '.' && r != '-') {
			return false
		}
	}
	return s != ""
}
