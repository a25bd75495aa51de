"""Each client of a store contacts the host that botocore alone would contact. `store_hosts` has the table."""

import pytest
import pytest_asyncio
from tests.adapters.store_hosts import CASES, SWITCHES, configured, contacted, quickly, recorder, resolved

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy():
    async with recorder() as found:
        yield found


@pytest.mark.parametrize(("partition", "region", "title"), CASES, ids=lambda part: part.replace(" ", "-"))
async def test_each_client_contacts_the_host_that_botocore_resolves(proxy, partition, region, title):
    switch = SWITCHES[title]
    with configured(switch, proxy.address), quickly():
        assert await contacted(partition, region, switch, proxy) == resolved(partition, region, switch)
