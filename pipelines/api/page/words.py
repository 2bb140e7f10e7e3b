"""Every text of the pages, in English and in Turkish, and how each writes numbers, dates and spans of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from pipelines.api.insight import Range

DEFAULT = "en"

_ENGLISH = {
    "title": "Most-watched creators",
    "title_creator": "{name} – Most-watched creators",
    "skip": "Skip to the content",
    "language": "Language",
    "theme": "Colours",
    "theme_auto": "Auto",
    "theme_light": "Light",
    "theme_dark": "Dark",
    "snapshot": "Snapshot",
    "published": "Published",
    "data_until": "Sessions until",
    "fresh": "Up to date",
    "stale": "Out of date",
    "stale_banner": "This snapshot was published more than {hours} hours ago. Its figures are right for the days that "
    "it holds; newer days are missing.",
    "age_minutes": "less than an hour ago",
    "age_hours": "{n} h ago",
    "age_days": "{n} days ago",
    "lede": "Ranked by distinct signed-in viewers, {range}. Exact, to the person.",
    "range_one": "{first}",
    "range_many": "{first} – {last}",
    "window": "Window",
    "window_one": "1 day",
    "window_many": "{n} days",
    "dates": "Any range of days",
    "first_day": "First day",
    "last_day": "Last day",
    "show": "Show",
    "search": "Search creators",
    "search_hint": "Name, user name or id",
    "search_do": "Search",
    "search_clear": "Clear the search",
    "tile_creators": "Creators ranked",
    "tile_sessions": "Sessions",
    "tile_hours": "Hours watched",
    "tile_days": "Days",
    "rank": "Rank",
    "movement": "Movement",
    "since_yesterday": "since yesterday",
    "since_last_week": "since last week",
    "day_short": "day",
    "week_short": "week",
    "creator": "Creator",
    "trend": "30-day reach",
    "trend_said": "rolling 30-day reach, from {first} to {last} viewers",
    "viewers": "Viewers",
    "anonymous": "Anonymous",
    "sessions": "Sessions",
    "hours": "Hours watched",
    "up": "{n} up",
    "down": "{n} down",
    "same": "unchanged",
    "new": "new",
    "unknown": "not known",
    "caption": "Creators by distinct viewers, {range}",
    "shown": "{first}–{last} of {total}",
    "found_one": "1 creator",
    "found_many": "{n} creators",
    "pages": "Pages",
    "previous_page": "Previous",
    "next_page": "Next",
    "download": "Download",
    "empty_title": "Nothing to rank",
    "empty_range": "There are no sessions in this range of days.",
    "no_match_title": "No match",
    "no_match": "No creator in this ranking matches “{text}”.",
    "about": "A viewer is counted once per creator, however many days they came back. Anonymous devices are counted "
    "beside viewers, never added in. Days are calendar days in {zone}.",
    "api": "Documentation of the API",
    "back": "All creators",
    "in_range": "In this range",
    "not_in_range": "No sessions in this range of days.",
    "of_total": "of {total}",
    "chart_reach": "Rolling 30-day reach",
    "chart_reach_note": "Distinct viewers in the 30 days up to and including each day.",
    "chart_viewers": "Viewers a day, new and returning",
    "chart_viewers_note": "New: not seen with this creator in the {days} days before.",
    "chart_hours": "Hours watched a day",
    "chart_hours_note": "The part of every session that lies on the day, of all viewers.",
    "chart_rank": "Rank over time",
    "chart_rank_note": "In the 30 days up to and including each day, by today’s list of creators.",
    "new_viewers": "New",
    "returning_viewers": "Returning",
    "as_table": "Show as a table",
    "day": "Day",
    "chart_keys": "Use the arrow keys to go from day to day.",
    "not_ranked": "not ranked",
    "no_data": "No data for these days.",
    "streams": "Scheduled streams",
    "no_streams": "No streams are scheduled.",
    "untitled": "Untitled stream",
    "starts": "Starts {when}",
    "no_start": "No start planned yet",
    "funding": "Funding",
    "funded": "{percent} funded",
    "collected_of": "{collected} of {goal}",
    "collected": "{collected} collected",
    "no_goal": "No funding goal",
    "backers_one": "1 backer",
    "backers_many": "{n} backers",
    "none_title": "No snapshot yet",
    "none": "Nothing has been published yet. This page looks again every few seconds and shows the ranking as soon as "
    "the first night is done.",
    "unreadable_title": "The snapshot cannot be read",
    "unreadable": "It will be tried again in a few seconds.",
    "again": "Try again",
    "bad_title": "That cannot be shown",
    "bad_range": "This snapshot holds the days from {first} to {last}; a range may hold at most {most} days.",
    "bad_order": "The last day must not be before the first.",
    "bad_other": "The address holds something that cannot be read.",
    "missing_title": "No such creator",
    "missing": "This snapshot holds nobody of that id.",
    "to_ranking": "Go to the ranking",
    "failed": "That could not be loaded. The page shows what was there before.",
}

_TURKISH = {
    "title": "En çok izlenen içerik üreticileri",
    "title_creator": "{name} – En çok izlenen içerik üreticileri",
    "skip": "İçeriğe geç",
    "language": "Dil",
    "theme": "Renkler",
    "theme_auto": "Otomatik",
    "theme_light": "Açık",
    "theme_dark": "Koyu",
    "snapshot": "Anlık görüntü",
    "published": "Yayımlanma",
    "data_until": "Son oturum",
    "fresh": "Güncel",
    "stale": "Güncel değil",
    "stale_banner": "Bu anlık görüntü {hours} saatten daha uzun süre önce yayımlandı. İçerdiği günlerin rakamları "
    "doğrudur, ancak daha yeni günler eksiktir.",
    "age_minutes": "bir saatten az önce",
    "age_hours": "{n} sa. önce",
    "age_days": "{n} gün önce",
    "lede": "Oturum açmış tekil izleyici sayısına göre, {range}. Kişi kişi sayılmış, kesin sonuç.",
    "range_one": "{first}",
    "range_many": "{first} – {last}",
    "window": "Dönem",
    "window_one": "1 gün",
    "window_many": "{n} gün",
    "dates": "İstediğiniz tarih aralığı",
    "first_day": "İlk gün",
    "last_day": "Son gün",
    "show": "Göster",
    "search": "İçerik üreticisi ara",
    "search_hint": "Ad, kullanıcı adı veya kimlik",
    "search_do": "Ara",
    "search_clear": "Aramayı temizle",
    "tile_creators": "Sıralanan içerik üreticisi",
    "tile_sessions": "Oturum",
    "tile_hours": "İzlenen saat",
    "tile_days": "Gün",
    "rank": "Sıra",
    "movement": "Değişim",
    "since_yesterday": "düne göre",
    "since_last_week": "geçen haftaya göre",
    "day_short": "gün",
    "week_short": "hafta",
    "creator": "İçerik üreticisi",
    "trend": "30 günlük erişim",
    "trend_said": "30 günlük erişim: {first} izleyiciden {last} izleyiciye",
    "viewers": "İzleyici",
    "anonymous": "Anonim",
    "sessions": "Oturum",
    "hours": "İzlenen saat",
    "up": "{n} yukarı",
    "down": "{n} aşağı",
    "same": "değişmedi",
    "new": "yeni",
    "unknown": "bilinmiyor",
    "caption": "Tekil izleyici sayısına göre içerik üreticileri, {range}",
    "shown": "{first}–{last} / {total}",
    "found_one": "1 içerik üreticisi",
    "found_many": "{n} içerik üreticisi",
    "pages": "Sayfalar",
    "previous_page": "Önceki",
    "next_page": "Sonraki",
    "download": "İndir",
    "empty_title": "Sıralanacak bir şey yok",
    "empty_range": "Bu tarih aralığında hiç oturum yok.",
    "no_match_title": "Sonuç yok",
    "no_match": "Bu sıralamada “{text}” ile eşleşen içerik üreticisi yok.",
    "about": "Bir izleyici, kaç gün geri gelirse gelsin, her içerik üreticisi için bir kez sayılır. Anonim cihazlar "
    "ayrıca sayılır, izleyicilere eklenmez. Günler {zone} saat dilimindeki takvim günleridir.",
    "api": "API belgeleri",
    "back": "Tüm içerik üreticileri",
    "in_range": "Bu aralıkta",
    "not_in_range": "Bu tarih aralığında hiç oturum yok.",
    "of_total": "/ {total}",
    "chart_reach": "30 günlük erişim",
    "chart_reach_note": "Her gün için, o gün dahil son 30 gündeki tekil izleyici sayısı.",
    "chart_viewers": "Günlük izleyiciler: yeni ve geri dönen",
    "chart_viewers_note": "Yeni: önceki {days} gün içinde bu içerik üreticisini izlememiş olanlar.",
    "chart_hours": "Günlük izlenen saat",
    "chart_hours_note": "Her oturumun o güne düşen bölümü, tüm izleyiciler için.",
    "chart_rank": "Zaman içinde sıra",
    "chart_rank_note": "Her gün için, o gün dahil son 30 güne göre; bugünkü içerik üreticisi listesiyle.",
    "new_viewers": "Yeni",
    "returning_viewers": "Geri dönen",
    "as_table": "Tablo olarak göster",
    "day": "Gün",
    "chart_keys": "Günler arasında ok tuşlarıyla gezinin.",
    "not_ranked": "sıralamada değil",
    "no_data": "Bu günler için veri yok.",
    "streams": "Planlanan yayınlar",
    "no_streams": "Planlanan yayın yok.",
    "untitled": "Adsız yayın",
    "starts": "Başlangıç: {when}",
    "no_start": "Başlangıç henüz planlanmadı",
    "funding": "Fonlama",
    "funded": "{percent} fonlandı",
    "collected_of": "{goal} hedefin {collected} kadarı toplandı",
    "collected": "{collected} toplandı",
    "no_goal": "Fonlama hedefi yok",
    "backers_one": "1 destekçi",
    "backers_many": "{n} destekçi",
    "none_title": "Henüz anlık görüntü yok",
    "none": "Henüz hiçbir şey yayımlanmadı. Bu sayfa birkaç saniyede bir yeniden bakar ve ilk gece tamamlanır "
    "tamamlanmaz sıralamayı gösterir.",
    "unreadable_title": "Anlık görüntü okunamıyor",
    "unreadable": "Birkaç saniye içinde yeniden denenecek.",
    "again": "Yeniden dene",
    "bad_title": "Bu gösterilemiyor",
    "bad_range": "Bu anlık görüntü {first} – {last} günlerini içerir; bir aralık en fazla {most} gün olabilir.",
    "bad_order": "Son gün, ilk günden önce olamaz.",
    "bad_other": "Adreste okunamayan bir şey var.",
    "missing_title": "Böyle bir içerik üreticisi yok",
    "missing": "Bu anlık görüntüde bu kimliğe sahip kimse yok.",
    "to_ranking": "Sıralamaya git",
    "failed": "Yüklenemedi. Sayfa bir önceki durumu gösteriyor.",
}

_MONTHS = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "tr": ("Oca", "Şub", "Mar", "Nis", "May", "Haz", "Tem", "Ağu", "Eyl", "Eki", "Kas", "Ara"),
}


@dataclass(frozen=True)
class Words:
    """One language."""

    code: str
    name: str
    texts: Mapping[str, str]
    thousands: str
    decimal: str

    def __call__(self, key: str, **values: object) -> str:
        """A text, with its values put in."""
        return self.texts[key].format(**values)

    def counted(self, key: str, n: int) -> str:
        """A text that differs for one and for many."""
        return self(f"{key}_one" if n == 1 else f"{key}_many", n=self.number(n))

    def number(self, n: int) -> str:
        """A whole number: 1,234 or 1.234."""
        return f"{n:,}".replace(",", self.thousands)

    def money(self, amount: Decimal, currency: str | None) -> str:
        """An amount, with cents where it has any: 1,234.50 TRY."""
        text = f"{amount:,.2f}" if amount % 1 else f"{amount:,.0f}"
        written = text.translate({ord(","): self.thousands, ord("."): self.decimal})
        return f"{written} {currency}" if currency else written

    def percent(self, n: int) -> str:
        """50% or %50."""
        return f"%{self.number(n)}" if self.code == "tr" else f"{self.number(n)}%"

    def hours(self, seconds: int) -> str:
        """Hours of a number of seconds, with one decimal below a hundred."""
        if seconds >= 100 * 3600:
            return self.number(round(seconds / 3600))
        return f"{seconds / 3600:.1f}".replace(".", self.decimal)

    def day(self, day: date) -> str:
        """30 Jun 2013."""
        return f"{day.day} {_MONTHS[self.code][day.month - 1]} {day.year}"

    def short_day(self, day: date) -> str:
        """30 Jun."""
        return f"{day.day} {_MONTHS[self.code][day.month - 1]}"

    def days(self, days: Range) -> str:
        """1 Jun – 30 Jun 2013; the year once where it is one."""
        if days.days == 1:
            return self("range_one", first=self.day(days.first))
        first = self.short_day(days.first) if days.first.year == days.last.year else self.day(days.first)
        return self("range_many", first=first, last=self.day(days.last))

    def instant(self, moment: datetime) -> str:
        """30 Jun 2013, 23:59 UTC."""
        utc = moment.astimezone(UTC)
        return f"{self.day(utc.date())}, {utc:%H:%M} UTC"

    def age(self, hours: int) -> str:
        """How long ago, in whole hours or days."""
        if hours < 1:
            return self("age_minutes")
        return self("age_hours", n=hours) if hours < 48 else self("age_days", n=self.number(hours // 24))


LANGUAGES: Mapping[str, Words] = {
    "en": Words("en", "English", _ENGLISH, thousands=",", decimal="."),
    "tr": Words("tr", "Türkçe", _TURKISH, thousands=".", decimal=","),
}


def preferred(accept_language: str) -> str:
    """The language that an Accept-Language header wants most; DEFAULT when it wants none of ours."""
    wanted = []
    for at, part in enumerate(accept_language.split(",")):
        tag, _, weight = part.partition(";")
        code = tag.strip().lower().partition("-")[0]
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if code in LANGUAGES and quality > 0:
            wanted.append((-quality, at, code))
    return min(wanted)[2] if wanted else DEFAULT
