//! Conditions of the process that are a problem although they are not the reason of a record.

use std::str::FromStr;

use crate::text::Language;

/// A condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`texts` says what each one is")]
pub enum Trouble {
    UpstreamUnhealthy,
    UpstreamAllUnhealthy,
    CertificateExpired,
    CertificateExpiring,
    CertificateRefused,
    ReloadRefused,
    ConnectionsNearlyFull,
    ConnectionsFull,
    RecordsDropped,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::UpstreamUnhealthy,
        Self::UpstreamAllUnhealthy,
        Self::CertificateExpired,
        Self::CertificateExpiring,
        Self::CertificateRefused,
        Self::ReloadRefused,
        Self::ConnectionsNearlyFull,
        Self::ConnectionsFull,
        Self::RecordsDropped,
    ];

    /// Its name in documents.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::UpstreamUnhealthy => "upstream_unhealthy",
            Self::UpstreamAllUnhealthy => "upstream_all_unhealthy",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateExpiring => "certificate_expiring",
            Self::CertificateRefused => "certificate_refused",
            Self::ReloadRefused => "reload_refused",
            Self::ConnectionsNearlyFull => "connections_nearly_full",
            Self::ConnectionsFull => "connections_full",
            Self::RecordsDropped => "records_dropped",
        }
    }

    /// What is the case, and what to do, in English.
    const fn texts_en(self) -> (&'static str, &'static str) {
        match self {
            Self::UpstreamUnhealthy => (
                "the health checks of some endpoints of an upstream fail; the others get all new tunnels",
                "look at the log of the endpoint, and at the record upstream_health, which has the cause",
            ),
            Self::UpstreamAllUnhealthy => (
                "the health checks of all endpoints of an upstream fail, so its handshakes are refused",
                "look at the logs of the endpoints, and at the record upstream_health, which has the cause",
            ),
            Self::CertificateExpired => (
                "a certificate has expired, so clients refuse to connect",
                "renew the certificate now; the proxy uses the new file within seconds",
            ),
            Self::CertificateExpiring => (
                "a certificate expires within 7 days and was not renewed",
                "look at what should have renewed it (cert-manager, certbot, a cron job), and at its log",
            ),
            Self::CertificateRefused => (
                "the file of a certificate or key can't be used; its previous content stays in use",
                "the record certificate_refused says what is wrong with the file; until it is mended, a restart would fail",
            ),
            Self::ReloadRefused => (
                "the configuration file has errors; the previous configuration stays in use",
                "correct the problems that are listed with the configuration; until then a restart would fail",
            ),
            Self::ConnectionsNearlyFull => (
                "more than 90 % of limits.connections are in use",
                "raise limits.connections and the limit of descriptors, add a replica, or look for a client that opens too many",
            ),
            Self::ConnectionsFull => (
                "limits.connections are in use, so new connections are reset",
                "raise limits.connections and the limit of descriptors, add a replica, or look for a client that opens too many",
            ),
            Self::RecordsDropped => (
                "the output of the records failed or was blocked, so records were lost",
                "free the disk, or let the reader of standard output read faster",
            ),
        }
    }

    /// The same in Chinese.
    const fn texts_zh(self) -> (&'static str, &'static str) {
        match self {
            Self::UpstreamUnhealthy => (
                "某个上游的部分端点健康检查失败；新隧道都分给其余端点",
                "查看该端点的日志，以及写有原因的 upstream_health 记录",
            ),
            Self::UpstreamAllUnhealthy => (
                "某个上游的所有端点健康检查都失败，发往它的握手被拒绝",
                "查看这些端点的日志，以及写有原因的 upstream_health 记录",
            ),
            Self::CertificateExpired => (
                "证书已过期，客户端拒绝连接",
                "立即更换证书；代理会在几秒内使用新文件",
            ),
            Self::CertificateExpiring => (
                "证书将在 7 天内过期，且尚未更换",
                "检查本应更换它的程序（cert-manager、certbot、定时任务）及其日志",
            ),
            Self::CertificateRefused => (
                "证书或私钥的文件无法使用；继续使用之前的内容",
                "certificate_refused 记录写明文件有什么问题；修好之前，重启会失败",
            ),
            Self::ReloadRefused => (
                "配置文件有错误；继续使用之前的配置",
                "改正“配置”一栏列出的问题；在此之前，重启会失败",
            ),
            Self::ConnectionsNearlyFull => (
                "limits.connections 已用去 90 % 以上",
                "调高 limits.connections 和描述符上限，增加副本，或找出连接过多的客户端",
            ),
            Self::ConnectionsFull => (
                "limits.connections 已用尽，新连接被重置",
                "调高 limits.connections 和描述符上限，增加副本，或找出连接过多的客户端",
            ),
            Self::RecordsDropped => (
                "记录的输出失败或被阻塞，有记录丢失",
                "清理磁盘，或让标准输出的读取方读得更快",
            ),
        }
    }

    /// What is the case, and what to do.
    #[must_use]
    pub const fn texts(self, language: Language) -> (&'static str, &'static str) {
        match language {
            Language::En => self.texts_en(),
            Language::Zh => self.texts_zh(),
        }
    }
}

impl FromStr for Trouble {
    type Err = ();

    fn from_str(code: &str) -> Result<Self, ()> {
        let mut all = Self::ALL.into_iter();
        all.find(|trouble| trouble.code() == code).ok_or(())
    }
}
