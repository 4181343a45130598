package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

const (
	nginxProgram = "nginx/usr/sbin/nginx"
	// remembered is for how many seconds its caches keep the document: as long as cstproxy's memory does by default.
	remembered = 30
)

// nginxTitles are the three ways in which nginx answers: template -> title.
var nginxTitles = map[string]string{"redis": "nginx, lua-resty-redis", "dict": "nginx, Lua shared dictionary", "cache": "nginx, proxy_cache"}

// nginxNotes compare each with cstproxy.
var nginxNotes = map[string]string{
	"redis": "nginx with lua-resty-redis asks Redis in each request, over a pool of connections, and sends on what lies there. It opens no seal, " +
		"knows no dates, and so sends a document whose `expiresIn` was true when it was written; it mints and refreshes nothing, asks no caller who " +
		"he is, and counts and logs nothing. It is cstproxy's Redis hit with everything else left out.",
	"dict": "With a dictionary in memory that its workers share, nginx asks Redis once in 30 seconds, as cstproxy does by default. The document lies " +
		"there in clear, and a token that is forgotten or replaced elsewhere is answered until the 30 seconds are over: nobody tells nginx. " +
		"It is cstproxy's memory hit without dates, callers, metrics and audit, in C and LuaJIT.",
	"cache": "proxy_cache answers without any Lua from a file that the kernel has in memory, for as long as the `max-age` of the server behind it " +
		"allows. It is the fastest that nginx has to offer without code, and knows as little of tokens: the same bytes until they are stale, " +
		"no matter whether the token in them still lives.",
}

// nginxSettings are what the templates of nginx are filled in with.
type nginxSettings struct {
	Folder, Modules, Lua, User, Group string
	Workers, Remember                 int
	Prefix, Redis, Listen, Servers    string
}

// nginxRival is nginx with the server blocks of a template.
func nginxRival(kind, network string) rival {
	name, title := "nginx-"+kind, nginxTitles[kind]
	if network == "unix" {
		name, title = name+overUnix, title+", Unix socket"
	}
	return rival{
		contender: contender{
			Name:    name,
			Start:   func(ctx context.Context, w *world) (*running, error) { return startNginx(ctx, w, kind, network) },
			Missing: func() string { return notInstalled(nginxProgram, "nginx/VERSIONS") },
		},
		Title:   title,
		Version: nginxVersion,
		Note:    nginxNotes[kind],
	}
}

func startNginx(ctx context.Context, w *world, kind, network string) (*running, error) {
	program, err := installed(nginxProgram)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(w.Dir, "nginx-"+kind+"-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	at := target{Network: network, Address: filepath.Join(folder, "sock"), Path: tokenPath}
	if network == "tcp" {
		if at.Address, err = freeAddress(ctx); err != nil {
			return nil, err
		}
	}
	if err := configureNginx(w, kind, folder, at); err != nil {
		return nil, err
	}
	libraries, err := nginxLibraries()
	if err != nil {
		return nil, err
	}
	p, err := w.spawn(command{
		Name: filepath.Base(folder), Path: program, Environ: []string{"LD_LIBRARY_PATH=" + libraries},
		Args: []string{"-p", folder, "-e", filepath.Join(folder, "error.log"), "-c", filepath.Join(folder, "nginx.conf")},
	})
	if err != nil {
		return nil, err
	}
	started, err := p.answering(ctx, at)
	if err != nil {
		said, _ := os.ReadFile(filepath.Join(folder, "error.log")) // without it there is less to say
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(said))
	}
	return started, p.await(ctx, func() bool {
		workers := nginxWorkers(p.Pid)
		started.Processes = append([]int{p.Pid}, workers...)
		return len(workers) == runtime.NumCPU()
	})
}

// configureNginx writes nginx.conf into folder.
func configureNginx(w *world, kind, folder string, at target) error {
	root, err := installed("nginx")
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(w.Redis.Addr)
	if err != nil {
		return fmt.Errorf("split the address of Redis: %w", err)
	}
	account, err := user.Current()
	if err != nil {
		return fmt.Errorf("find out whose process this is: %w", err)
	}
	group, err := user.LookupGroupId(account.Gid)
	if err != nil {
		return fmt.Errorf("find the group of %s: %w", account.Username, err)
	}
	settings := nginxSettings{
		Folder: folder, Modules: root + "/usr/lib/nginx/modules", Lua: root + "/usr/share/lua/5.1",
		User: account.Username, Group: group.Name, Workers: runtime.NumCPU(), Remember: remembered,
		Prefix: documentPrefix, Redis: fmt.Sprintf("%q, %s", host, port), Listen: at.Address,
	}
	if at.Network == "unix" {
		settings.Listen = "unix:" + at.Address
	}
	if settings.Servers, err = expand("nginx/"+kind+".conf", settings); err != nil {
		return err
	}
	return render(filepath.Join(folder, "nginx.conf"), "nginx/nginx.conf", settings)
}

// nginxLibraries are the folders in which nginx finds LuaJIT and PCRE. Debian names them by the kind of machine.
func nginxLibraries() (string, error) {
	root, err := installed("nginx")
	if err != nil {
		return "", err
	}
	var folders []string
	for _, pattern := range []string{"/usr/lib/*-linux-gnu*", "/lib/*-linux-gnu*"} {
		found, err := filepath.Glob(root + pattern)
		if err != nil {
			return "", fmt.Errorf("find the libraries of nginx: %w", err)
		}
		folders = append(folders, found...)
	}
	return strings.Join(folders, ":"), nil
}

// nginxWorkers are the processes that answer, of the master's. The others end by themselves, or do next to nothing.
func nginxWorkers(master int) (workers []int) {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", master, master))
	if err != nil {
		return nil
	}
	for child := range strings.FieldsSeq(string(children)) {
		title, err := os.ReadFile("/proc/" + child + "/cmdline")
		if err != nil || !bytes.Contains(title, []byte("worker process")) {
			continue
		}
		if pid, err := strconv.Atoi(child); err == nil {
			workers = append(workers, pid)
		}
	}
	return workers
}

// nginxVersion names the packages of Debian's.
func nginxVersion(context.Context) (string, error) {
	text, err := os.ReadFile(filepath.Join(rivalsFolder, "nginx/VERSIONS"))
	if err != nil {
		return "", fmt.Errorf("read the versions of nginx: %w", err)
	}
	var said []string
	for _, name := range []string{"nginx", "libnginx-mod-http-lua", "lua-nginx-redis", "libluajit2-5.1-2"} {
		_, rest, found := strings.Cut("\n"+string(text), "\n"+name+" ")
		if !found {
			return "", fmt.Errorf("the versions of nginx have no %s", name)
		}
		version, _, _ := strings.Cut(rest, "\n")
		said = append(said, name+" "+version)
	}
	return strings.Join(said, ", "), nil
}
