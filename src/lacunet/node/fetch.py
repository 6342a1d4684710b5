"""Takes studies from an archive by DICOMweb, once they have stopped growing there."""

import time
from datetime import datetime, timedelta

from lacunet.errors import LacunetError, OutputError
from lacunet.node.arrivals import note_cut_off, note_not_fetched, note_released
from lacunet.node.keep import BadObject, Inbox
from lacunet.node.queue import name_of
from lacunet.node.receive import Log
from lacunet.node.remembered import is_settled, remember_fetched
from lacunet.node.settings import Fetch
from lacunet.node.web import SeriesFound, find_series, find_studies, objects_of

_MIB = 2**20


def fetch_once(fetch: Fetch, inbox: Inbox, log: Log) -> None:
    """Look at the archive, and take each study whose number of MR images is what it was a quiet time ago. One that
    fails is tried again at the next look, and does not hold up the others.

    Args:
        fetch: The archive, and which of its studies.
        inbox: Where objects are kept.
        log: Takes lines.
    """
    first = (datetime.now() - timedelta(days=fetch.days)).strftime("%Y%m%d")
    try:
        studies = find_studies(fetch.archive, {"StudyDate": f"{first}-", **fetch.query}, fetch.most_studies)
    except OutputError as error:
        log(f"nothing fetched: {error}")
        return
    if len(studies) == fetch.most_studies:
        log(f"the archive has {len(studies)} studies or more; raise fetch.most_studies, or narrow fetch.query")
    for study in studies:
        try:
            _fetch_study(fetch, study, inbox, log)
        except LacunetError as error:
            log(f"{name_of(study)}: not fetched: {error}")
            note_not_fetched(inbox.queue, study, f"not fetched: {error}; it is tried again", time.time())


def _fetch_study(fetch: Fetch, study: str, inbox: Inbox, log: Log) -> None:
    series = find_series(fetch.archive, study)
    images, now = sum(one.images for one in series), time.time()
    if not series or not is_settled(inbox.queue, study, images, now, inbox.limits.quiet_seconds):
        return
    association = f"web-{time.time_ns():x}"
    try:
        for one in series:
            _fetch_series(fetch, study, one, inbox, association, log)
    except BaseException:
        note_cut_off(inbox.queue, association)
        raise
    note_released(inbox.queue, association)
    remember_fetched(inbox.queue, study, images)


def _fetch_series(fetch: Fetch, study: str, series: SeriesFound, inbox: Inbox, association: str, log: Log) -> None:
    for content in objects_of(fetch.archive, study, series.uid, inbox.limits.largest_object_mib * _MIB):
        try:
            inbox.keep(content, None, association, time.time())
        except BadObject as error:
            log(f"an object was not fetched: {error}")
