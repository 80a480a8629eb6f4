package config

// helpZH is what each setting means in Chinese, by its name. A test finds what is missing.
var helpZH = map[string]string{
	"data":                 "SQLite 文件、主密钥和锁所在的目录。",
	"db":                   "数据库：sqlite:路径、postgres://… 或 mysql://…，后两种供多个副本共用。含密码的 URL 请用 HONGYAN_DB 或 --db-file 给出，因为命令行会被他人看到。默认 sqlite:DATA/hongyan.db。",
	"db-file":              "存放数据库 URL 的文件。",
	"listen":               "API、控制台、文档、指标和健康检查的监听地址；没有公网监听时也包括 /mp/v1 与 /callback。",
	"public-listen":        "只开放 /mp/v1 与 /callback 的监听地址，供手机和微信从公网访问；设置后 listen 不再提供这两者。默认不开启。",
	"gateway-listen":       "网关的监听地址：提供微信原生路径，SDK 用网关密钥代替 AppSecret 接入。默认不开启。",
	"trusted-proxies":      "信任其 X-Forwarded-For 与 X-Forwarded-Proto 的 CIDR 网段，默认都不信任。",
	"admin-key":            "管理员的 API key，至少 32 个字符。",
	"admin-key-file":       "管理员 API key 所在文件，至少 32 个字符，供容器与脚本使用。也可用 HONGYAN_ADMIN_KEY。",
	"master-key":           "用于加密数据库中机密的 32 字节，以 base64 表示。",
	"master-key-file":      "主密钥文件：32 字节的 base64，用于加密数据库中的机密。也可用 HONGYAN_MASTER_KEY。默认 DATA/master.key，首次运行时生成。",
	"wechat-url":           "微信接口（或沙箱）的基础 URL。",
	"wechat-fallback-url":  "第一个无法连接时使用的基础 URL（结果不明时不会使用）。空表示没有；仅当 wechat-url 为默认值时有效。",
	"wechat-proxy":         "调用微信时使用的 HTTP 代理，用于固定出口 IP。",
	"sandbox-url":          "沙箱的基础地址：具有 sandbox 权限的 key 可通过 /v1/sandbox 操作它（控制台的模拟手机即如此）。仅用于 wechat-url 也是沙箱的服务。默认无。",
	"senders":              "每个小程序同时调用微信的数量。",
	"outbound-allow":       "允许 webhook、forward_to 与 token_url 访问的非公网 CIDR 网段，例如 10.0.0.0/8；默认没有。",
	"retain-messages-days": "消息在结束（accepted、delivered、undelivered、failed、canceled、expired）后，自最后一次变化起保留的天数。0 表示永久。仍可能变化的消息（包括 uncertain）从不删除。",
	"retain-data-days":     "这类消息的 data 保留的天数，之后清空并标记 data_erased。0 表示与消息同存。",
	"retain-events-days":   "事件及其 webhook 投递记录保留的天数。0 表示永久。",
	"log-level":            "日志级别：debug、info、warn、error。",
	"log-format":           "日志格式：text 或 json，写到标准错误。",
	"stop-timeout":         "优雅停止最长用时。",
}
