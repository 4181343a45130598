package main

import "testing"

func TestAHealthcheckTakesEveryAddressOfTheAdminPort(t *testing.T) {
	t.Parallel()
	environ := []string{"CSTPROXY_LISTEN=127.0.0.1:9090"}
	for _, admin := range []string{"127.0.0.1:8080", ":8080", "127.0.0.1:9090", "unix:/run/cst.sock"} {
		t.Run(admin, func(t *testing.T) {
			t.Parallel()
			config, err := adminPart().load(environ, map[string]string{"admin-listen": admin})
			if err != nil || config.AdminListen.String() != admin {
				t.Errorf("by flag: got %q, %v", config.AdminListen, err)
			}
			config, err = adminPart().load(append([]string{"CSTPROXY_ADMIN_LISTEN=" + admin}, environ...), nil)
			if err != nil || config.AdminListen.String() != admin {
				t.Errorf("by variable: got %q, %v", config.AdminListen, err)
			}
		})
	}
}
